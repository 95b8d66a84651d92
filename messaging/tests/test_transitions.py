"""One module decides, writes and counts every change of status."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from messaging.models import CampaignMessage
from messaging.tests.scenario import LEASE, NOW, claim, failed, messages, write
from messaging.transitions import SendingPhase, sending_phase
from routing.providers.base import OutcomeUnknown
from routing.rules.decide import AwaitVerdict

# The module itself, and what runs its SQL. Campaigns and answers have a status as well.
WRITERS = {
    "transitions.py",
    "queue/claim_sql.py",
    "queue/record_sql.py",
    "campaigns.py",
    "idempotency.py",
}
MESSAGING = Path(settings.BASE_DIR, "messaging")


def _writes(tree: ast.AST) -> Iterator[int]:
    """The lines that write a message's status, by the ORM or in SQL."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets = [each for each in node.targets if isinstance(each, ast.Attribute)]
            if any(each.attr == "status" for each in targets) and _is_of_message(node):
                yield node.lineno
        elif isinstance(node, ast.Call) and _is_update(node):
            if any(
                each.arg == "status" and _is_of_message(each) for each in node.keywords
            ):
                yield node.lineno
        elif isinstance(node, ast.Constant) and "UPDATE messaging_campaignmessage" in (
            str(node.value)
        ):
            yield node.lineno


def _is_update(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in {
        "update",
        "create",
        "update_or_create",
    }


def _is_of_message(node: ast.AST) -> bool:
    return "CampaignStatus" not in ast.unparse(node)


def test_nothing_else_writes_the_status_of_a_message():
    """Mend it by a function in `messaging.transitions` that makes the change, and by
    its `write`, which counts it as well.
    """
    found = [
        f"{name}:{line}"
        for path in MESSAGING.rglob("*.py")
        if not {"tests", "migrations", "models"} & set(path.parts)
        and (name := str(path.relative_to(MESSAGING))) not in WRITERS
        for line in _writes(ast.parse(path.read_text()))
    ]

    assert found == [], test_nothing_else_writes_the_status_of_a_message.__doc__


@pytest.mark.parametrize(
    "source",
    [
        "message.status = MessageStatus.SENT",
        "rows.update(status=MessageStatus.FAILED, finished_at=now)",
        "SQL = 'UPDATE messaging_campaignmessage SET status = 4'",
    ],
)
def test_the_guard_sees_each_way_to_write_a_status(source):
    assert list(_writes(ast.parse(source)))


@pytest.mark.django_db
@pytest.mark.usefixtures("route")
def test_sending_is_one_of_three_things():
    (message,) = messages(1)
    phases = [sending_phase(message)]

    (claimed,) = claim()
    phases.append(sending_phase(fresh(message)))
    write(failed(claimed, OutcomeUnknown(), AwaitVerdict(NOW + LEASE)))
    phases.append(sending_phase(fresh(message)))
    CampaignMessage.objects.update(lease_owner=7)
    phases.append(sending_phase(fresh(message)))

    assert phases == [
        None,
        SendingPhase.IN_FLIGHT,
        SendingPhase.AWAITING_VERDICT,
        SendingPhase.BEING_LOOKED_UP,
    ]


def fresh(message: CampaignMessage) -> CampaignMessage:
    return CampaignMessage.objects.get(pk=message.pk)
