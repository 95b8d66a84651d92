import smtplib

import pytest

from routing.simulators.process import read_handset_log


def test_a_mail_is_on_its_handset_at_once(wires, simulator_process):
    wires.smtp("ada@example.com", reference="m7a1")

    accepted, arrived = read_handset_log(simulator_process.handset_log)

    assert (accepted.event, arrived.event) == ("accepted", "handset")
    assert accepted.message == arrived.message
    assert arrived.message.reference == "m7a1"
    assert (arrived.message.subject, arrived.message.body) == ("Grüße", "Schöne Grüße")


def test_every_recipient_has_a_handset(wires, handset_log):
    wires.smtp("ada@example.com", "bob@example.com")

    assert [line for line in handset_log() if line.startswith("handset")] == [
        "handset ada@example.com",
        "handset bob@example.com",
    ]


def test_an_unknown_mailbox_is_refused(wires):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        wires.smtp("unknown.person@example.com")

    [(code, _)] = refused.value.recipients.values()
    assert code == 550


def test_a_lost_mail_is_accepted_and_never_arrives(wires, simulator, handset_log):
    simulator.configure(undelivered_share=1)
    wires.smtp("ada@example.com")

    assert handset_log() == ["accepted ada@example.com"]


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ({"kind": "throttle"}, smtplib.SMTPSenderRefused, 451),
        ({"kind": "throttle", "code": "454"}, smtplib.SMTPSenderRefused, 454),
        ({"kind": "unavailable"}, smtplib.SMTPSenderRefused, 421),
        (
            {"kind": "error", "code": "552", "stage": "MAIL"},
            smtplib.SMTPSenderRefused,
            552,
        ),
        (
            {"kind": "error", "code": "554", "stage": "DATA"},
            smtplib.SMTPDataError,
            554,
        ),
    ],
)
def test_a_fault_answers_with_its_code_at_its_stage(
    wires, simulator, handset_log, fault, error, code
):
    simulator.set_fault("SMTPEmail", **fault)

    with pytest.raises(error) as raised:
        wires.smtp()

    assert raised.value.smtp_code == code
    assert handset_log() == []


def test_a_recipient_is_refused_with_the_code_of_the_fault(wires, simulator):
    simulator.set_fault("SMTPEmail", "error", code="450", message="4.2.1 Busy")

    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        wires.smtp("ada@example.com")

    assert refused.value.recipients == {"ada@example.com": (450, b"4.2.1 Busy")}


def test_a_login_is_let_in_and_a_fault_refuses_it(wires, simulator):
    port = simulator.base_port + 4
    with smtplib.SMTP("127.0.0.1", port, timeout=2) as connection:
        connection.login("anybody", "anything")
    simulator.set_fault("SMTPEmail", "error", code="535", stage="AUTH")

    with (
        smtplib.SMTP("127.0.0.1", port, timeout=2) as connection,
        pytest.raises(smtplib.SMTPAuthenticationError),
    ):
        connection.login("anybody", "anything")


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("kind", ["hang", "drop"])
def test_after_the_final_dot_no_answer_says_what_happened(
    wires, simulator, handset_log, accepted, kind
):
    simulator.set_fault("SMTPEmail", kind, accepted=accepted)

    with pytest.raises(OSError):  # such as SMTPServerDisconnected
        wires.smtp("ada@example.com")

    assert ("handset ada@example.com" in handset_log()) is accepted


def test_garbage_is_no_smtp_reply(wires, simulator, handset_log):
    simulator.set_fault("SMTPEmail", "garbage")

    with pytest.raises(smtplib.SMTPException):
        wires.smtp("ada@example.com")

    assert "handset ada@example.com" in handset_log()


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "slow", "delay": 0.1},
        {"kind": "drip", "interval": 0.01},
        {"kind": "huge", "megabytes": 1},
    ],
)
def test_a_reply_that_takes_its_time_is_a_reply(wires, simulator, handset_log, fault):
    simulator.set_fault("SMTPEmail", **fault)
    wires.smtp("ada@example.com")

    assert handset_log() == ["accepted ada@example.com", "handset ada@example.com"]


def test_a_closed_listener_refuses_connections(wires, simulator):
    simulator.set_fault("SMTPEmail", "refuse")

    with pytest.raises(ConnectionRefusedError):
        wires.smtp()
    simulator.clear_fault("SMTPEmail")
    wires.smtp()
