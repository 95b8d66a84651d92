"""Only https URLs on public hosts pass, however the others are spelled."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from messaging.rules.public_urls import problem_with_url

v4_numbers = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.jpg",
        "https://EXAMPLE.com/a.jpg",
        "https://cdn.example.co.uk/",
        "https://xn--bcher-kva.example/a.jpg",
        "https://example.com:443/a.jpg",
        "https://example.com/a.jpg?width=100&token=a%20b#top",
        "https://example.com/@ada/a.jpg",
        "https://8.8.8.8/a.jpg",
        "https://[2606:4700::1111]/a.jpg",
        "https://127.0.0.1.example.com/a.jpg",
    ],
)
def test_a_public_url_passes(url):
    assert problem_with_url(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/a.jpg",
        "//example.com/a.jpg",
        "http://example.com/a.jpg",
        "HTTPS://example.com/a.jpg",
        "ftp://example.com/a.jpg",
        "file:///etc/passwd",
        "https://example.com",
        "https://example.com?/",
        "https:///a.jpg",
        "https:example.com/a.jpg",
        " https://example.com/a.jpg",
        "https://example.com/a b.jpg",
        "https://example.com/a.jpg\n",
        "https://example.com/a.jpg\r\nX-Evil: 1",
        "https://example.com/\x01",
        "https://example.com/\x7f",
        "https://example.com/ü",
        "https://exämple.com/a.jpg",
        "https://example。com/a.jpg",
        "https://ⓛocalhost/a.jpg",
    ],
)
def test_what_is_no_plain_https_url_is_refused(url):
    assert "is not an https URL" in problem_with_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://ada@example.com/a.jpg",
        "https://ada:secret@example.com/a.jpg",
        "https://example.com@10.0.0.1/a.jpg",
        "https://example.com%40@10.0.0.1/a.jpg",
        "https://example.com\\@10.0.0.1/a.jpg",
        "https://10.0.0.1\\.example.com/a.jpg",
        "https://example.com#@10.0.0.1/a.jpg",
        "https://loc%61lhost/a.jpg",
        "https://example.com:80:443/a.jpg",
        "https://[::1%25eth0]/a.jpg",
        "https://[::1/a.jpg",
        "https://under_score.example.com/a.jpg",
    ],
)
def test_where_programs_disagree_about_the_host_it_is_refused(url):
    assert problem_with_url(url)


@pytest.mark.parametrize("port", ["", "0443", "80", "22", "8443", "65536", "0"])
def test_every_port_but_443_is_refused(port):
    assert "a port other than 443" in problem_with_url(f"https://example.com:{port}/a")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "intranet",
        "db",
        "api.localhost",
        "printer.local",
        "metadata.google.internal",
        "nas.lan",
        "router.home.arpa",
        "1.0.0.127.in-addr.arpa",
        "hidden.onion",
    ],
)
def test_a_host_of_a_private_network_is_refused(host):
    assert "a host in a private network" in problem_with_url(f"https://{host}/a")


@pytest.mark.parametrize(
    "host",
    [
        "example.com.",
        "example..com",
        ".example.com",
        "-a.com",
        "a-.com",
        "a" * 64 + ".com",
        ".".join(["a" * 60] * 5),
    ],
)
def test_a_host_that_is_no_domain_name_is_refused(host):
    assert "not a domain name" in problem_with_url(f"https://{host}/a")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0x7f000001",
        "0x",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.01",
        "1.2.3.4.5",
        "256.1.1.1",
        "8.8.2056",
        "foo.1",
    ],
)
def test_an_ipv4_address_that_is_not_public_is_refused_in_every_spelling(host):
    assert "not public" in problem_with_url(f"https://{host}/a")


@pytest.mark.parametrize(
    "host",
    [
        "::1",
        "::",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:0a00:1",
        "::10.0.0.1",
        "fe80::1",
        "fd00::1",
        "fd00:ec2::254",
        "ff02::1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "2002:a00:1::",
        "2001:0:a00:1::1",
        "2001:db8::1",
        "",
        "1.2.3.4",
        "2606:4700:::1",
    ],
)
def test_an_ipv6_address_that_is_not_public_is_refused(host):
    assert "not public" in problem_with_url(f"https://[{host}]/a")


def test_a_url_without_end_is_refused():
    assert "longer than" in problem_with_url("https://example.com/" + "a" * 2048)


@given(v4_numbers)
def test_only_the_plain_spelling_of_a_global_ipv4_address_passes(number):
    address = IPv4Address(number)
    is_public = address.is_global and not address.is_multicast

    assert (problem_with_url(f"https://{address}/a") == "") == is_public


@given(
    v4_numbers, st.sampled_from(["{}", "0x{:x}", "0{:o}", "0X{:X}"]), st.integers(1, 4)
)
def test_no_other_spelling_of_an_ipv4_address_passes(number, form, count):
    octets = list(IPv4Address(number).packed)
    last = int.from_bytes(octets[count - 1 :], "big")
    host = ".".join(form.format(part) for part in [*octets[: count - 1], last])
    assume(host != str(IPv4Address(number)))

    assert problem_with_url(f"https://{host}/a")


@given(st.integers(0, 2**128 - 1) | v4_numbers)
def test_no_ipv6_address_outside_the_global_ones_passes(number):
    address = IPv6Address(number)

    if not problem_with_url(f"https://[{address}]/a"):
        assert address.is_global
        assert not (address.ipv4_mapped or address.sixtofour or address.teredo)


@given(st.text())
def test_any_text_gets_a_verdict(text):
    problem_with_url(text)
    problem_with_url(f"https://{text}/a")
