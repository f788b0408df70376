"""Every command with --json: one document on stdout that says whether it went well, whatever happens."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest

from openfl_like.cli import main as cli
from openfl_like.cli.output.failure import CommandFailure, failure_of, line_of
from openfl_like.error_meanings import MEANINGS
from openfl_like.errors import FederationError, PlanError

KEYS = ["code", "cure", "exit_code", "message", "name", "place", "problems"]
STREAMS = {
    "aggregator start", "director start", "envoy start", "pki serve",
    "demo", "simulate", "study run", "experiment watch", "experiment logs",
}  # fmt: skip
"""They go on until something ends, and write a line for each thing that happens."""
SILENT = {"completion"}
"""What it prints is for a shell."""


def leaves(command: click.Command = cli.fx, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group, with its path."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from leaves(inner, f"{path} {name}".strip())


LEAVES = dict(leaves())


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fx", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def failure(output: str) -> dict[str, Any]:
    """The error of the one document on stdout."""
    (line,) = output.splitlines()
    document = json.loads(line)
    assert sorted(document) == ["error", "ok"]
    assert document["ok"] is False
    assert sorted(document["error"]) == KEYS
    found: dict[str, Any] = document["error"]
    return found


def test_all_that_tell_something_have_json() -> None:
    without = {path for path, leaf in LEAVES.items() if "as_json" not in {option.name for option in leaf.params}}
    assert without == SILENT
    assert LEAVES.keys() >= STREAMS


@pytest.mark.parametrize("path", sorted(LEAVES.keys() - SILENT))
def test_a_command_that_was_misused_says_so_in_one_document(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *path.split(), "--json", "--no-such-option") == 2
    output = capsys.readouterr()
    error = failure(output.out)
    assert (error["code"], error["name"], error["exit_code"]) == ("E100", "UsageError", 2)
    assert error["place"] == f"fx {path}"
    assert "--no-such-option" in error["message"]
    assert "--no-such-option" in output.err


@pytest.mark.parametrize("kind", MEANINGS, ids=lambda kind: kind.code)
def test_every_error_has_its_document_and_its_line(
    kind: type[FederationError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> NoReturn:
        raise kind("it broke", place="here", cure="mend it")

    monkeypatch.setattr(cli.fx, "main", fail)
    code = MEANINGS[kind].exit_code
    assert run(monkeypatch, "experiment", "list", "--json") == code
    output = capsys.readouterr()
    assert failure(output.out) == {
        "code": kind.code, "name": kind.__name__, "message": "it broke", "place": "here", "cure": "mend it",
        "exit_code": code, "problems": [],
    }  # fmt: skip
    assert output.err == f"Error [{kind.code}]: here: it broke (mend it)\n"


def test_mistakes_are_a_list_and_a_defect_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error: BaseException = PlanError("2 mistakes", place="plan.yaml", problems=("a", "b"))

    def fail(**_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(cli.fx, "main", fail)
    run(monkeypatch, "plan", "check", "--json")
    assert failure(capsys.readouterr().out)["problems"] == ["a", "b"]
    error = ZeroDivisionError("division by zero")
    assert run(monkeypatch, "--debug", "plan", "check", "--json") == 70
    assert failure(capsys.readouterr().out)["message"] == "ZeroDivisionError: division by zero"
    error = KeyboardInterrupt()
    assert run(monkeypatch, "plan", "check", "--json") == 130
    assert failure(capsys.readouterr().out)["name"] == "Interrupted"


def test_what_quotes_a_site_cannot_steer_the_terminal() -> None:
    found = failure_of(FederationError("\x1b[2Jboom"))
    assert found == CommandFailure("E000", "FederationError", "\x1b[2Jboom", exit_code=70)
    assert line_of(found) == "Error [E000]: \x1b[2Jboom"  # `say` writes it out


def test_local_commands_answer_with_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def told(*words: str) -> Any:  # noqa: ANN401 (JSON)
        assert run(monkeypatch, *words, "--json") == 0, capsys.readouterr().err
        (line,) = capsys.readouterr().out.splitlines()
        document = json.loads(line)
        assert sorted(document) == ["data", "ok"]
        assert document["ok"] is True
        return document["data"]

    assert told("workspace", "create", "study", "-t", "numpy_breast_cancer")["workspace"] == "study"
    assert told("plan", "check", "study/plan.yaml")["digest"] == told("plan", "show", "study/plan.yaml")["digest"]
    assert told("plan", "freeze", "study/plan.yaml")["plan"]["seed"] is not None
    assert told("plan", "freeze", "study/plan.yaml", "-o", "frozen.json")["file"] == "frozen.json"
    assert told("plan", "diff", "study/plan.yaml", "frozen.json")["equal"] is True
    assert told("pki", "init", "--federation", "hospitals")["offline"] == "certs/root/ca.key"
    assert told("pki", "issue", "user", "ada") == {"identity": "fx://hospitals/user/ada", "directory": "certs/user/ada"}
    assert told("pki", "inspect", "certs/user/ada")["role"] == "user"
    assert told("pki", "token", "bern")["token"].startswith("fx1/hospitals/envoy/bern/")
    assert [row["state"] for row in told("pki", "list")] == ["valid", "token open"]
    assert told("pki", "revoke", "ada")["number"] == 1
    assert run(monkeypatch, "pki", "inspect", "certs/nobody", "--json") == 3
    assert failure(capsys.readouterr().out)["code"] == "E201"


def test_the_streams_are_those_that_the_reference_lists() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "cli.md").read_text().split("\n| variable")[0]
    assert {path for path in LEAVES if f"`fx {path}`" in page} == STREAMS
