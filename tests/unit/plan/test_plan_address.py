"""``HOST:PORT`` as people write it: taken, or refused with what was probably meant."""

import pytest

from openfl_like.plan.address import bare_host, checked_address, checked_host, joined_address

FINE = ("localhost:50050", "127.0.0.1:1", "[::1]:50050", "[fe80::1%eth0]:65535", "fx_director_1:50050", "münchen.de:1")


@pytest.mark.parametrize("text", FINE)
def test_such_addresses_are_taken(text: str) -> None:
    assert checked_address(text) == text


def test_any_free_port_only_where_one_listens() -> None:
    assert checked_address("[::]:0", least_port=0) == "[::]:0"
    with pytest.raises(ValueError, match="a port is a number from 1 to 65535, not 0"):
        checked_address("[::]:0")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("localhost", "the port is missing; write localhost:50050"),
        ("[::1]", r"the port is missing; write \[::1\]:50050"),
        ("50051", "the host is missing; write localhost:50051"),
        (":50051", "the host is missing; write localhost:50051, or the name of that machine"),
        ("http://localhost:50051", "but a URL; write localhost:50051$"),
        ("https://fx.example.org/", "but a URL; write fx.example.org:50050$"),
        ("grpc://[::1]:7/x", r"but a URL; write \[::1\]:7$"),
        ("::1:50051", r"an IPv6 address stands in brackets; write \[::1\]:50051"),
        ("::1", r"an IPv6 address stands in brackets; write \[::1\]:50050"),
        ("2001:db8::7:50051", r"an IPv6 address stands in brackets; write \[2001:db8::7\]:50051"),
        ("host:port", "'port' is not a port, which is a number up to 65535"),
        ("host:99999", "a port is a number from 1 to 65535, not 99999"),
        ("host:-1", "'-1' is not a port"),
        ("host:٣", "'٣' is not a port"),
        ("no such host:50050", "'no such host' is not a host's name or address"),
        ("[localhost]:1", r"'\[localhost\]' is not a host's name"),
        ("a:b:1", "'a:b' is not a host's name"),
        ("ada@host:1", "'ada@host' is not a host's name"),
        ("", "the port is missing; write localhost:50050"),
    ],
)
def test_others_are_refused_with_what_was_meant(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"is not of the form HOST:PORT.*{told}"):
        checked_address(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [("::1", "::1"), ("[::1]", "::1"), ("fx.example.org", "fx.example.org"), ("10.0.0.1", "10.0.0.1")],
)
def test_a_host_alone(text: str, host: str) -> None:
    assert checked_host(text) == host


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fx.example.org:50051", "alone; write fx.example.org$"),
        ("[::1]:50051", "alone; write ::1$"),
        ("https://fx.example.org:1", "alone; write fx.example.org$"),
        ("two words", "'two words' is not a host's name or address"),
        ("", "'' is not a host's name or address"),
    ],
)
def test_what_is_no_host_alone(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        checked_host(text)


def test_brackets_come_and_go() -> None:
    assert joined_address("::1", 7) == "[::1]:7"
    assert joined_address("host", 7) == "host:7"
    assert bare_host("[::1]") == "::1"
    assert bare_host("host") == "host"
