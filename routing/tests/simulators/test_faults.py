from random import Random

import pytest

from routing.simulators.faults import BadFault, Fault, FaultBoard, FaultKind


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> FaultBoard:
    return FaultBoard(random=Random(1), clock=clock)


def strikes(board: FaultBoard, number: int) -> int:
    return sum(board.strike("TwilioSMS") is not None for _ in range(number))


def test_a_fault_strikes_its_own_provider_only(board):
    board.put("TwilioSMS", Fault(FaultKind.HANG))

    assert board.strike("TwilioSMS") is not None
    assert board.strike("VonageSMS") is None


def test_a_fault_with_a_count_strikes_so_many_requests(board):
    board.put("TwilioSMS", Fault(FaultKind.HANG, count=3))

    assert strikes(board, 10) == 3
    assert board.describe() == {}


def test_a_fault_with_seconds_ends_by_itself(board, clock):
    board.put("TwilioSMS", Fault(FaultKind.HANG, seconds=5))
    clock.now = 4.9
    before = strikes(board, 1)
    clock.now = 5.0

    assert (before, strikes(board, 1)) == (1, 0)


def test_a_fault_with_a_share_strikes_about_that_share(board):
    board.put("TwilioSMS", Fault(FaultKind.HANG, share=0.25))

    assert 200 < strikes(board, 1000) < 300


def test_a_fault_of_another_stage_is_left_for_later(board):
    board.put("SMTPEmail", Fault(FaultKind.ERROR, stage="AUTH", count=1))

    assert board.strike("SMTPEmail", stages=frozenset({"DATA"})) is None
    assert board.strike("SMTPEmail", stages=frozenset({"AUTH"})) is not None


def test_a_closed_listener_strikes_no_request(board):
    board.put("TwilioSMS", Fault(FaultKind.REFUSE))

    assert board.strike("TwilioSMS") is None
    assert board.current("TwilioSMS") is not None


def test_a_new_fault_takes_the_place_of_the_last(board):
    board.put("TwilioSMS", Fault(FaultKind.HANG))
    board.put("TwilioSMS", Fault(FaultKind.DROP))

    assert board.describe() == {"TwilioSMS": {"kind": "drop"}}


def test_clearing_one_provider_leaves_the_others(board):
    board.put("TwilioSMS", Fault(FaultKind.HANG))
    board.put("VonageSMS", Fault(FaultKind.HANG))
    board.clear("TwilioSMS")

    assert list(board.describe()) == ["VonageSMS"]


def test_a_description_is_read_with_its_types():
    fault = Fault.read({"kind": "error", "code": 30003, "status": "400", "share": 1})

    assert fault == Fault(FaultKind.ERROR, code="30003", status=400, share=1.0)


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"kind": "explode"},
        {"kind": "slow", "dealy": 3},
        {"kind": "slow", "delay": "long"},
        {"kind": "slow", "delay": -1},
        {"kind": "slow", "share": 1.5},
        {"kind": "drop", "accepted": "no"},
        {"kind": "error", "stage": "HELO"},
        {"kind": "refuse", "count": 3},
    ],
)
def test_a_description_that_is_wrong_says_what_there_is(description):
    with pytest.raises(BadFault, match="seconds"):
        Fault.read(description)


@pytest.mark.parametrize(
    ("fault", "is_taken"),
    [
        (Fault(FaultKind.DROP), False),
        (Fault(FaultKind.DROP, accepted=True), True),
        (Fault(FaultKind.HANG), False),
        (Fault(FaultKind.SLOW), True),
        (Fault(FaultKind.GARBAGE), True),
        (Fault(FaultKind.GARBAGE, accepted=False), False),
    ],
)
def test_a_fault_says_whether_the_message_is_taken(fault, is_taken):
    assert fault.is_taken is is_taken
