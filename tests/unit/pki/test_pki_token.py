import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.errors import UnauthenticatedError, UsageError
from openfl_like.pki.files import Trust
from openfl_like.pki.roles import EXPERIMENT_ROLES, Identity, Role
from openfl_like.pki.token import Token, check_address, secret_digest

WHO = Identity("hospitals", Role.ENVOY, "cleveland")


def test_what_is_in_a_token_comes_out_of_its_text(trust: Trust) -> None:
    token = Token.fresh(WHO, "ca.example.org:50049", trust.site_ca)
    assert Token.parse(token.text) == token
    assert Token.parse(f" {token.text}\n") == token
    assert token.text.startswith("fx1/hospitals/envoy/cleveland/ca.example.org:50049/")


def test_every_token_has_a_secret_of_its_own_of_256_bits(trust: Trust) -> None:
    tokens = [Token.fresh(WHO, "localhost:1", trust.site_ca) for _ in range(20)]
    assert len({token.secret for token in tokens}) == 20
    assert {len(token.secret) for token in tokens} == {32}


def test_neither_the_digest_nor_what_is_printed_shows_the_secret(trust: Trust) -> None:
    token = Token.fresh(WHO, "localhost:1", trust.site_ca)
    assert token.secret.hex() not in repr(token)
    assert repr(token.secret) not in repr(token)
    assert token.digest == secret_digest(token.secret.hex()) != token.secret.hex()


def test_only_the_authority_that_gave_it_out_fits(trust: Trust) -> None:
    token = Token.fresh(WHO, "localhost:1", trust.site_ca)
    token.check_authority(trust.site_ca)
    for other in (trust.root, trust.experiment_ca):
        with pytest.raises(UnauthenticatedError, match="another authority"):
            token.check_authority(other)


@pytest.mark.parametrize("role", sorted(EXPERIMENT_ROLES))
def test_there_are_none_for_an_experiment(role: Role, trust: Trust) -> None:
    with pytest.raises(UsageError, match="no tokens"):
        Token.fresh(Identity("hospitals", role, "one", "one"), "localhost:1", trust.site_ca)


@pytest.mark.parametrize("address", ["", "host", "host:", "host:0", "host:65536", ":1", "a b:1", "a/b:1", "host:1:2"])
def test_an_address_has_host_and_port(address: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        check_address(address)


@pytest.mark.parametrize("address", ["localhost:50049", "10.0.0.1:1", "[::1]:65535"])
def test_such_addresses_are_fine(address: str) -> None:
    assert check_address(address) == address


def test_what_is_cut_or_changed_is_no_token(trust: Trust) -> None:
    text = Token.fresh(WHO, "localhost:1", trust.site_ca).text
    parts = text.split("/")
    broken = [text[:-1], text[1:], text + "A", text.replace("fx1", "fx2"), "/".join(parts[:-1]), "", "fx1/////"]
    broken += ["/".join([*parts[:2], "director2", *parts[3:]]), "/".join([*parts[:3], "../x", *parts[4:]])]
    for words in broken:
        with pytest.raises(UsageError, match="not a valid enrolment token"):
            Token.parse(words)


@given(st.text(max_size=200))
def test_no_text_whatever_does_anything_else(text: str) -> None:
    with pytest.raises(UsageError):
        Token.parse(text)


@given(st.text(max_size=80))
def test_what_is_no_secret_has_the_digest_of_nothing(text: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        assert secret_digest(text) == secret_digest("")


@pytest.mark.parametrize(
    "mail",
    [
        "\ufeff{}\n", "{}\r\n", '"{}"', "'{}' ", "<{}>", "\u201c{}\u201d", "Token: {}", "Your token:\n\t{}\n\n",
        "\u200b{}\u00ad", "\u00a0{}\u00a0",
    ],
)  # fmt: skip
def test_what_mail_adds_does_not_matter(mail: str, trust: Trust) -> None:
    token = Token.fresh(WHO, "ca.example.org:50049", trust.site_ca)
    assert Token.parse(mail.format(token.text)) == token


@pytest.mark.parametrize("width", [10, 60, 76])
def test_a_wrapped_token_is_whole(width: int, trust: Trust) -> None:
    token = Token.fresh(WHO, "ca.example.org:50049", trust.site_ca)
    lines = [token.text[start : start + width] for start in range(0, len(token.text), width)]
    assert Token.parse("\r\n> ".join(lines).replace("> ", "  ")) == token


@pytest.mark.parametrize("change", [lambda text: text[:-1], lambda text: text + "x", lambda text: text + " -- Ada"])
def test_what_lacks_or_has_more_is_refused(change: Callable[[str], str], trust: Trust) -> None:
    token = Token.fresh(WHO, "ca.example.org:50049", trust.site_ca)
    with pytest.raises(UsageError, match="not a valid enrolment token"):
        Token.parse(change(token.text))
