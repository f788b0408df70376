from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from openfl_like.errors import CredentialError
from openfl_like.pki.certificate import describe
from openfl_like.pki.files import Credentials, Trust
from openfl_like.pki.roles import Role


def test_a_server_is_described(issued: Callable[..., Credentials], now: datetime) -> None:
    found = describe(issued(Role.DIRECTOR, days=2, hosts=["example.org", "192.0.2.1"]).chain, "cert.pem")
    assert found.identity == ("fx://hospitals/director/one",)
    assert found.role == "director"
    assert found.issuer == "CN=site-ca,O=hospitals"
    assert (found.not_before, found.not_after) == (now - timedelta(minutes=5), now + timedelta(days=2))
    assert found.names == ("director.hospitals.fx", "example.org", "192.0.2.1")
    assert found.usages == ("serverAuth", "clientAuth")
    assert int(found.serial, 16) > 0


def test_an_authority_is_described(trust: Trust) -> None:
    found = describe(trust.experiment_ca, "ca.crt")
    assert (found.role, found.names, found.usages) == ("experiment-ca", (), ())


def test_garbage_names_its_file() -> None:
    with pytest.raises(CredentialError) as caught:
        describe(b"nonsense", "there.pem")
    assert caught.value.place == "there.pem"
