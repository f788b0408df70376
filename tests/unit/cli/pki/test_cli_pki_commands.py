import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from openfl_like.cli.pki.commands import _ROLES, pki
from openfl_like.errors import CredentialError, UsageError
from openfl_like.pki.files import load_credentials
from openfl_like.pki.roles import Role
from openfl_like.pki.token import Token


def run(*words: str) -> str:
    return CliRunner().invoke(pki, list(words), catch_exceptions=False, standalone_mode=False).output


def failing(*words: str) -> BaseException:
    error = CliRunner().invoke(pki, list(words), standalone_mode=False).exception
    assert error is not None
    return error


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run("init", "--federation", "hospitals")
    return tmp_path / "certs"


def test_roles_are_those_of_the_table() -> None:
    assert list(_ROLES) == [role.value for role in Role]


def test_init_founds_and_says_what_to_do_next(tmp_path: Path) -> None:
    said = run("init", "--federation", "hospitals", "--dir", str(tmp_path / "ca"))
    assert "root/ca.key offline" in said
    assert sorted(path.name for path in (tmp_path / "ca").iterdir()) == ["experiment-ca", "root", "site-ca"]


@pytest.mark.parametrize("role", _ROLES)
def test_issue_makes_usable_credentials(home: Path, role: str) -> None:
    extra = ["--experiment", "digits"] if role == "collaborator" else []
    assert f"into certs/{role}/one" in run("issue", role, "one", *extra)
    assert load_credentials(home / role / "one").identity.role == role


def test_issue_again_replaces_on_demand_only(home: Path) -> None:
    run("issue", "envoy", "one")
    before = load_credentials(home / "envoy" / "one")
    assert isinstance(failing("issue", "envoy", "one"), CredentialError)
    assert load_credentials(home / "envoy" / "one") == before
    run("issue", "envoy", "one", "--replace", "--days", "3")
    assert load_credentials(home / "envoy" / "one").key != before.key


def test_issue_writes_where_it_is_told(home: Path, tmp_path: Path) -> None:
    run("issue", "user", "ada", "--out", str(tmp_path / "mine"))
    assert load_credentials(tmp_path / "mine").identity.uri == "fx://hospitals/user/ada"
    assert not (home / "user").exists()


def test_wrong_words_are_clear_errors(home: Path) -> None:
    assert isinstance(failing("issue", "collaborator", "one"), UsageError)
    assert isinstance(failing("issue", "envoy", "../one"), UsageError)
    assert isinstance(failing("issue", "envoy", "one", "--host", "a.org"), UsageError)
    assert isinstance(failing("issue", "envoy", "one", "--dir", "nowhere"), CredentialError)
    assert sorted(path.name for path in home.iterdir()) == ["experiment-ca", "root", "site-ca"]


def test_inspect_shows_a_holder_and_an_authority(home: Path) -> None:
    run("issue", "director", "central", "--host", "example.org", "--days", "2")
    shown = run("inspect", str(home / "director" / "central"))
    assert "fx://hospitals/director/central" in shown
    found = json.loads(run("inspect", str(home / "director" / "central" / "cert.pem"), "--json"))["data"]
    assert found["names"] == ["director.hospitals.fx", "example.org"]
    assert found["usages"] == ["serverAuth", "clientAuth"]
    assert json.loads(run("inspect", str(home / "root"), "--json"))["data"]["role"] == "root"
    assert isinstance(failing("inspect", str(home)), CredentialError)


@pytest.mark.children
def test_help_has_an_example_and_imports_nothing_heavy() -> None:
    for words in ([], ["init"], ["issue"], ["inspect"]):
        assert "Example: fx pki" in run(*words, "--help")
    code = (
        "import sys, openfl_like.cli.pki.commands, openfl_like.cli.plan;"
        "print([name for name in ('cryptography', 'numpy', 'pydantic', 'grpc', 'yaml', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_token_is_printed_alone_and_listed_without_its_secret(home: Path) -> None:
    words = ("token", "cleveland", "--server", "ca.example.org:50049")
    result = CliRunner().invoke(pki, words, catch_exceptions=False, standalone_mode=False)
    token = Token.parse(result.stdout)
    assert result.stdout == f"{token.text}\n"
    assert "good once, until" in result.stderr
    assert (token.identity.uri, token.address) == ("fx://hospitals/envoy/cleveland", "ca.example.org:50049")
    (row,) = json.loads(run("list", "--json"))["data"]
    assert (row["identity"], row["state"]) == ("fx://hospitals/envoy/cleveland", "token open")
    on_disk = "".join(path.read_text() for path in home.rglob("*.json"))
    assert token.digest in {path.stem for path in home.rglob("*.json")}
    assert token.secret.hex() not in on_disk


def test_a_token_in_a_file_is_its_owners_alone_and_replaces_no_other(home: Path) -> None:
    words = ("token", "cleveland", "--server", "ca.example.org:50049", "-o", "cleveland.token")
    assert "good once" in run(*words)
    file = home.parent / "cleveland.token"
    text = file.read_text()
    assert Token.parse(text.strip()).identity.name == "cleveland"
    assert file.stat().st_mode & 0o777 == 0o600
    assert str(failing(*words)) == "cleveland.token: the file is there already (name another one, or delete it)"
    assert file.read_text() == text
    assert len(json.loads(run("list", "--json"))["data"]) == 1
    told = json.loads(run(*words[:-1], "other.token", "--json"))["data"]
    assert (told["file"], "token" in told) == ("other.token", False)


def test_a_token_that_leads_to_this_machine_only_says_so(home: Path) -> None:
    here = CliRunner().invoke(pki, ["token", "bern"]).stderr
    assert "which is only this machine; for others name the authority: --server HOST:PORT" in here
    there = CliRunner().invoke(pki, ["token", "basel", "--server", "ca.example.org:50049"]).stderr
    assert "only this machine" not in there


def test_wrong_words_for_a_token(home: Path) -> None:
    for words in (
        ("token", "../x"),
        ("token", "x", "--server", "nowhere"),
        ("token", "x", "--host", "a.org"),
        ("token", "x", "--role", "collaborator"),
        ("enroll", "fx1/x"),
    ):
        assert isinstance(failing(*words), UsageError | click.UsageError), words
    assert json.loads(run("list", "--json"))["data"] == []


def test_what_was_issued_is_listed_and_what_is_revoked_is_marked(home: Path) -> None:
    run("issue", "envoy", "one")
    run("issue", "user", "one")
    assert [row["state"] for row in json.loads(run("list", "--json"))["data"]] == ["valid", "valid"]
    assert isinstance(failing("revoke", "one"), UsageError)
    assert "list number 1" in run("revoke", "one", "--role", "user", "--reason", "left")
    states = {row["identity"]: row["state"] for row in json.loads(run("list", "--json"))["data"]}
    assert states == {"fx://hospitals/envoy/one": "valid", "fx://hospitals/user/one": "revoked"}
    run("issue", "user", "one", "--replace")
    assert sorted(row["state"] for row in json.loads(run("list", "--json"))["data"]) == ["revoked", "valid", "valid"]


def test_a_token_of_a_name_that_was_revoked_is_not_called_open(home: Path) -> None:
    def states() -> list[str]:
        return [row["state"] for row in json.loads(run("list", "--json"))["data"]]

    run("token", "one", "--server", "localhost:9")
    run("token", "two", "--server", "localhost:9")
    assert states() == ["token open", "token open"]
    run("revoke", "one", "--role", "envoy")
    assert states() == ["token revoked", "token open"]
    run("token", "one", "--server", "localhost:9")  # so that it may come back
    assert sorted(states()) == ["token open", "token open", "token revoked"]


def test_all_times_of_the_list_are_written_alike(home: Path) -> None:
    run("issue", "envoy", "one")
    run("token", "two", "--server", "localhost:9")
    _, head, *lines = run("list").splitlines()
    ends = [line[head.index("ends") :].split("  ")[0] for line in lines]
    assert len(ends) == 2
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", end) for end in ends), ends


def test_a_name_that_is_in_no_record_is_revoked_with_its_role_only(home: Path) -> None:
    assert isinstance(failing("revoke", "nobody"), UsageError)
    assert "fx://hospitals/envoy/nobody" in run("revoke", "nobody", "--role", "envoy")


def test_a_token_is_not_shown_to_anybody_if_there_is_a_certificate_already(home: Path) -> None:
    run("issue", "envoy", "one")
    token = run("token", "one", "--server", "localhost:9").splitlines()[0]
    assert isinstance(failing("enroll", token), CredentialError)


def test_who_was_not_enrolled_has_to_say_where_it_is_renewed(home: Path) -> None:
    run("issue", "user", "ada")
    assert "--server" in str(failing("renew", "certs/user/ada"))
    assert isinstance(failing("renew", "certs/user/ada", "--server", "nowhere"), click.UsageError)


def test_a_token_that_was_wrapped_on_its_way_is_read_whole(home: Path) -> None:
    run("issue", "envoy", "one")
    token = run("token", "one", "--server", "localhost:9").splitlines()[0]
    mail = f"\ufeffToken: {token[:60]}\n{token[60:]}\n"
    result = CliRunner().invoke(pki, ["enroll", "-"], input=mail, standalone_mode=False)
    assert isinstance(result.exception, CredentialError)  # it was read: there is a certificate of this name already
