"""The total deadline of a call and its watchdog."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest

from routing.providers.transport.deadline import Call, current_call

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_the_socket_of_a_call_is_shut_down_when_its_time_is_up(pair: Pair):
    started = time.monotonic()

    with Call(0.1) as call:
        call.use(pair[0])
        assert pair[0].recv(1) == b""

    assert call.is_expired
    assert 0.1 <= time.monotonic() - started < 0.4


def test_a_call_that_is_over_leaves_its_socket_alone(pair: Pair):
    with Call(0.05) as call:
        call.use(pair[0])
    time.sleep(0.1)
    pair[1].send(b"x")

    assert pair[0].recv(1) == b"x"
    assert not call.is_expired


def test_a_socket_that_was_let_go_of_is_left_alone(pair: Pair):
    with Call(0.05) as call:
        call.use(pair[0])
        call.let_go()
        time.sleep(0.1)
        pair[1].send(b"x")

        assert pair[0].recv(1) == b"x"
        assert call.is_expired


def test_a_call_whose_time_is_up_takes_no_socket_and_has_nothing_left(pair: Pair):
    with Call(0.02) as call:
        time.sleep(0.1)

        with pytest.raises(TimeoutError):
            call.use(pair[0])
        with pytest.raises(TimeoutError):
            call.remaining()


def test_a_shorter_deadline_does_not_wait_for_a_longer_one(pair: Pair):
    with Call(60):
        started = time.monotonic()
        with Call(0.1) as call:
            call.use(pair[0])
            assert pair[0].recv(1) == b""

    assert time.monotonic() - started < 0.4


def test_a_host_without_a_port_to_connect_to_raises_its_last_error():
    with Call(5) as call, pytest.raises(ConnectionRefusedError):
        call.connect("localhost", 1)


def test_outside_of_a_call_there_is_none():
    with pytest.raises(RuntimeError, match="outside a Call"):
        current_call()


def test_a_child_process_has_a_watchdog_too(pair: Pair):
    with Call(5):
        pass  # so that the parent's watchdog runs
    child = os.fork()
    if child == 0:
        with Call(0.1) as call:
            call.use(pair[0])
            pair[0].settimeout(2)
            pair[0].recv(1)
        os._exit(0 if call.is_expired else 1)

    assert os.waitpid(child, 0)[1] == 0
