"""Whose fault it is that a call did not reach its provider."""

from __future__ import annotations

import errno
import os
import resource
import socket

import pytest

from routing.providers.base import HostFault, Unreached
from routing.providers.transport.deadline import Call
from routing.providers.transport.http import HttpClient
from routing.providers.transport.reaching import not_reached

NO_NAME = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL]
)
def test_what_this_host_ran_out_of_is_its_own_fault(number):
    failure = not_reached(OSError(number, os.strerror(number)), "why")

    assert type(failure) is HostFault
    assert not failure.elsewhere


@pytest.mark.parametrize(
    ("error", "may_be_ours"),
    [
        (NO_NAME, True),
        (OSError(errno.ENETUNREACH, "no network"), True),
        (OSError(errno.EHOSTUNREACH, "no route"), True),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), False),
        (TimeoutError("the deadline has passed"), False),
    ],
    ids=repr,
)
def test_what_is_in_between_may_be_either_ones(error, may_be_ours):
    failure = not_reached(error, "why")

    assert type(failure) is Unreached
    assert failure.unavailable
    assert failure.may_be_ours == may_be_ours


def test_an_address_that_refuses_tells_more_than_one_without_a_way(monkeypatch):
    refusing = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))
    no_way = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("224.0.0.1", 1))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [refusing, no_way])

    with Call(1.0) as call, pytest.raises(ConnectionRefusedError):
        call.connect("provider.example", 1)


def test_a_process_without_room_for_another_file_is_at_fault_itself():
    client = HttpClient(timeout=5.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(HostFault, match="open files"):
            client.get("http://127.0.0.1:1/", headers={})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
