"""``HOST:PORT`` as people write it; an IPv6 address stands in brackets before its port."""

import re
from ipaddress import AddressValueError, IPv6Address

MAX_PORT = 65535
DIRECTOR_PORT = 50050
_HOST = re.compile(r"[^\s/\[\]@,:]{1,253}")
_BRACKETED = re.compile(r"\[([^\[\]]*)\]")


def checked_address(text: str, least_port: int = 1, port: int = DIRECTOR_PORT) -> str:
    """Return an address if it is ``host:port``.

    Args:
        text: As it stands in a file or an option.
        least_port: 0 where any free port may be asked for.
        port: What cures name where there is none.

    Raises:
        ValueError: With what is wrong, and the address that was probably meant.
    """
    shown = f"'{text[:100]}' is not of the form HOST:PORT"
    meant = _without_scheme(text)
    if meant != text:
        raise ValueError(f"{shown} but a URL; write {_meant(meant, port)}")
    if _is_ipv6(text) or (text.count(":") > 1 and _is_ipv6(text.rpartition(":")[0])):
        raise ValueError(f"{shown}: an IPv6 address stands in brackets; write {_meant(text, port)}")
    host, colon, number = text.rpartition(":")
    if not colon or _BRACKETED.fullmatch(text):
        lacks = "host" if text.isdecimal() else "port"
        raise ValueError(f"{shown}: the {lacks} is missing; write {_meant(text, port)}")
    if not host:
        raise ValueError(f"{shown}: the host is missing; write localhost{text}, or the name of that machine")
    if not _is_host(host):
        raise ValueError(f"{shown}: '{host[:100]}' is not a host's name or address; for example localhost:{port}")
    if not (number.isascii() and number.isdecimal() and len(number) <= len(str(MAX_PORT))):
        raise ValueError(f"{shown}: '{number[:20]}' is not a port, which is a number up to {MAX_PORT}")
    if not least_port <= int(number) <= MAX_PORT:
        raise ValueError(f"{shown}: a port is a number from {least_port} to {MAX_PORT}, not {number}")
    return text


def checked_host(text: str) -> str:
    """Return a host's name or address, an IPv6 one without its brackets.

    Raises:
        ValueError: If it is something else, or has a port.
    """
    bare = bare_host(text)
    if _is_ipv6(bare) or (bare == text and _HOST.fullmatch(text)):
        return bare
    without = _without_scheme(text).rpartition(":")[0]
    if _is_host(without):
        raise ValueError(f"must be a host's name or address alone; write {bare_host(without)}")
    raise ValueError(f"'{text[:100]}' is not a host's name or address; for example director.example.org")


def joined_address(host: str, port: int) -> str:
    """Return ``host:port``, with brackets where the host is an IPv6 address."""
    return f"[{host}]:{port}" if _is_ipv6(host) else f"{host}:{port}"


def bare_host(text: str) -> str:
    """Return a host without the brackets that an IPv6 address has before a port."""
    found = _BRACKETED.fullmatch(text)
    return found[1] if found else text


def _without_scheme(text: str) -> str:
    scheme, found, rest = text.partition("://")
    return rest.partition("/")[0] if found and scheme.isalnum() else text


def _meant(text: str, port: int) -> str:
    if text.isdecimal():
        return f"localhost:{text}"
    host, _, number = text.rpartition(":")
    if number.isdecimal() and (_is_host(host) or (_is_ipv6(host) and len(number) > 4)):
        return joined_address(bare_host(host), int(number))
    return joined_address(bare_host(text or "localhost"), port)


def _is_host(text: str) -> bool:
    bare = bare_host(text)
    return _is_ipv6(bare) if bare != text else bool(_HOST.fullmatch(text))


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
