"""Many e-mails in one call to SendGrid: each as if it had been sent alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from routing.providers.base import (
    AccountError,
    BatchRejected,
    OutboundMessage,
    OutcomeUnknown,
    ProviderError,
    RecipientError,
    Throttled,
    Unreached,
)
from routing.providers.sendgrid_batches import SUBSTITUTIONS_LIMIT
from routing.simulators.process import read_handset_log
from routing.tests.providers.samples import ReceiptCatcher, build
from routing.tests.providers.scripted_server import ScriptedServer, answer, say

ADA = OutboundMessage("m1a1", "ada@example.com", "Hello, Ada", "A word")
GRACE = OutboundMessage("m2a1", "grace@example.com", "Hello, Grace", "A word")
NOBODY = OutboundMessage("m3a1", "nobody@localhost", "Hello, nobody", "A word")


@pytest.fixture
def sender(simulator):
    """SendGrid, simulated."""
    provider = build("SendGridEmail")
    yield provider
    provider.close()


@pytest.fixture
def taken(simulator_process):
    """What SendGrid has accepted, in any order, without the ids that it assigned."""

    def read() -> list:
        entries = read_handset_log(simulator_process.handset_log)
        messages = [each.message for each in entries if each.event == "accepted"]
        return sorted(
            (replace(each, external_message_id="") for each in messages),
            key=lambda each: each.reference,
        )

    return read


def requests_of(simulator) -> int:
    return simulator.state()["providers"]["SendGridEmail"]["requests"]


def link(name: str) -> str:
    return f"https://example.com/unsubscribe/{name}/"


def unlike(**changes) -> list[OutboundMessage]:
    """Two messages: one as usual, one with changes."""
    return [ADA, replace(GRACE, **changes)]


@pytest.mark.parametrize(
    "messages",
    [
        unlike(),
        unlike(body=ADA.body),
        unlike(subject="Another word"),
        unlike(
            body="Grüße 🎉 an Größe,\n\nzwei  Zeilen\r\n\tund <b>&amp;</b> %s {} \\"
        ),
        unlike(body="-body- -subject- {{body}} :body %body% <%body%> [body]"),
        unlike(body="-" + "0" * 32 + "body-", subject="-" + "0" * 32 + "subject-"),
        unlike(body=" "),
        unlike(subject="Größe 🎉"),
        unlike(unsubscribe_url=link("grace")),
        [
            replace(ADA, unsubscribe_url=link("ada")),
            replace(GRACE, unsubscribe_url=link("grace")),
        ],
        unlike(recipient="o'hara+news=x@EXAMPLE.com"),
        unlike(recipient="grace@müller.example"),
        [replace(ADA, body="é" * 262_144), replace(GRACE, body="é" * 262_144)],
    ],
)
def test_it_arrives_as_if_it_had_been_sent_alone(sender, simulator, taken, messages):
    for message in messages:
        sender.send(message)
    alone = taken()
    simulator.reset(truncate_handset_log=True)

    sender.send_batch(messages)

    assert taken() == alone
    assert requests_of(simulator) == 1


def test_each_has_an_id_of_its_own_by_which_its_events_come(simulator):
    with ReceiptCatcher() as catcher:
        simulator.configure(public_url=catcher.url)
        sender = build("SendGridEmail")
        acceptances = sender.send_batch([ADA, GRACE])
        receipts = sender.read_receipts(catcher.next())
        sender.close()

    told = {(each.reference, each.external_message_id) for each in receipts}
    first, second = (each.external_message_id for each in acceptances)
    assert told == {("m1a1", first), ("m2a1", second)}
    assert first != second


def test_it_names_whom_a_call_was_refused_for(sender, taken):
    told = sender.send_batch([ADA, NOBODY, GRACE])

    assert [type(each) for each in told] == [
        BatchRejected,
        RecipientError,
        BatchRejected,
    ]
    assert [each.code for each in told] == [
        "beside",
        "personalizations.0.to.0.email",
        "beside",
    ]
    assert taken() == []


def test_it_names_all_whom_the_answer_names(simulator):
    fields = ["personalizations.2.to.0.email", "personalizations.0.to.0.email"]
    errors = [{"message": "No", "field": field} for field in fields]
    reply = answer("400 Bad Request", json.dumps({"errors": errors}).encode())
    with ScriptedServer(say(reply)) as server:
        sender = build("SendGridEmail", BASE_URL=server.url)
        told = sender.send_batch([ADA, GRACE, NOBODY])
        sender.close()

    assert [type(each) for each in told] == [
        RecipientError,
        BatchRejected,
        RecipientError,
    ]


@pytest.mark.parametrize(
    "code",
    [
        "400",
        "400:content",
        "400:subject",
        "400:personalizations.1.substitutions",
        "400:personalizations.7.to.0.email",  # there are two
        "400:personalizations.1.to.0.name",
        "413",
        "422",
    ],
)
def test_when_nobody_is_named_each_goes_alone_from_now_on(simulator, sender, code):
    simulator.set_fault("SendGridEmail", "error", code=code)

    told = sender.send_batch([ADA, GRACE])

    assert {type(each) for each in told} == {BatchRejected}
    assert {each.code for each in told} == {"together"}


def test_two_to_one_recipient_go_alone(sender, taken):
    with pytest.raises(BatchRejected) as caught:
        sender.send_batch(unlike(recipient=ADA.recipient))

    assert caught.value.code == "together"
    assert taken() == []


def test_what_cannot_be_written_down_lets_each_go_alone(simulator):
    sender = build("SendGridEmail", FROM="nobody")

    with pytest.raises(BatchRejected) as caught:
        sender.send_batch([ADA, GRACE])

    assert caught.value.code == "together"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "error", "code": "401"}, AccountError),
        ({"kind": "error", "code": "403"}, AccountError),
        ({"kind": "throttle"}, Throttled),
        ({"kind": "unavailable"}, ProviderError),
        ({"kind": "refuse"}, Unreached),
        ({"kind": "drop"}, OutcomeUnknown),
        ({"kind": "drop", "accepted": True}, OutcomeUnknown),
        ({"kind": "error", "code": "500"}, OutcomeUnknown),
    ],
)
def test_what_is_so_of_all_is_raised(simulator, sender, fault, kind):
    simulator.set_fault("SendGridEmail", fault.pop("kind"), **fault)

    with pytest.raises(kind) as caught:
        sender.send_batch([ADA, GRACE])

    assert type(caught.value) is kind


def test_a_hang_leaves_all_unknown_at_the_deadline(simulator):
    simulator.set_fault("SendGridEmail", "hang")
    sender = build("SendGridEmail", TIMEOUT=0.4)

    with pytest.raises(OutcomeUnknown):
        sender.send_batch([ADA, GRACE])

    sender.close()
    assert requests_of(simulator) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": '"ada lovelace"@example.com'},
        {"recipient": "nobody"},
        {"subject": "Two\nlines"},
        {"body": ""},
        {"media_urls": ["https://example.com/a.jpg"]},
    ],
)
def test_what_might_spoil_a_call_goes_alone(sender, changes):
    assert sender.batch_key(replace(ADA, **changes)) is None


def test_ordinary_messages_share_a_call_whatever_they_say(sender):
    assert sender.batch_key(ADA) == sender.batch_key(NOBODY) is not None


@pytest.mark.parametrize("character", ["a", "é", "<", "\n", "🎉"])
def test_a_text_that_shares_a_call_fits_into_it(sender, taken, character):
    texts = [character * count for count in range(1, SUBSTITUTIONS_LIMIT, 250)]
    longest = max(
        (text for text in texts if sender.batch_key(replace(ADA, body=text)) == ""),
        key=len,
    )

    told = sender.send_batch([GRACE, replace(ADA, body=longest)])

    assert not any(isinstance(each, Exception) for each in told)
    assert len(taken()) == 2


def test_a_long_text_shares_a_call_with_its_equals_only(sender):
    long, other = "a" * SUBSTITUTIONS_LIMIT, "b" * SUBSTITUTIONS_LIMIT
    key = sender.batch_key(replace(ADA, body=long))

    assert key == sender.batch_key(replace(GRACE, body=long))
    assert key != sender.batch_key(replace(GRACE, body=other))
    assert key != sender.batch_key(GRACE)


def test_a_call_takes_a_thousand_and_no_more(sender, taken):
    def people(count):
        return [
            replace(
                ADA, reference=f"m{n}a1", recipient=f"p{n}@example.com", body=f"{n}"
            )
            for n in range(1, count + 1)
        ]

    assert sender.batch_size == 1000
    assert {type(each) for each in sender.send_batch(people(1001))} == {BatchRejected}
    sender.send_batch(people(1000))
    assert len(taken()) == 1000


@pytest.mark.parametrize(("option", "size"), [(20, 20), (5000, 1000), (0, 1)])
def test_an_option_lowers_how_many_a_call_takes(simulator, option, size):
    assert build("SendGridEmail", MAX_BATCH=option).batch_size == size
