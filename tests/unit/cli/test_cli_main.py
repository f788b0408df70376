"""The one exit: codes per error, suggestions, and no heavy import for help."""

import subprocess
import sys
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner

from openfl_like import __version__
from openfl_like.cli import main as cli
from openfl_like.error_meanings import MEANINGS
from openfl_like.errors import FederationError, PlanError

HEAVY = {
    "asyncio", "cryptography", "grpc", "numpy", "psutil", "pydantic", "rich", "sqlalchemy", "torch", "yaml",
}  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fx", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def run_raising(monkeypatch: pytest.MonkeyPatch, error: BaseException, *words: str) -> int:
    def fail(**_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(cli.fx, "main", fail)
    return run(monkeypatch, *words)


@pytest.mark.parametrize("kind", MEANINGS, ids=lambda kind: kind.code)
def test_every_error_has_its_exit_code_and_one_line(
    kind: type[FederationError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, kind("it broke", place="here", cure="mend it")) == MEANINGS[kind].exit_code
    output = capsys.readouterr()
    assert output.err == f"Error [{kind.code}]: here: it broke (mend it)\n"
    assert output.out == ""


def test_all_mistakes_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    error = PlanError("2 mistakes", place="plan.yaml", problems=("plan.yaml:1: a", "plan.yaml:2: b"))
    assert run_raising(monkeypatch, error) == 2
    assert capsys.readouterr().err == ("Error [E101]: plan.yaml: 2 mistakes\n  - plan.yaml:1: a\n  - plan.yaml:2: b\n")


def test_a_defect_is_one_line_with_the_way_to_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, ZeroDivisionError("division by zero")) == 70
    assert capsys.readouterr().err == "Error [E900]: ZeroDivisionError: division by zero (run it again with --debug)\n"


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.fx, "main", fail)
    monkeypatch.setattr(sys, "argv", ["fx", "--debug"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (click.exceptions.Abort(), 130), (click.UsageError("no"), 2)]
)
def test_the_other_ends(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_raising(monkeypatch, error) == code


def test_a_good_command_ends_with_zero(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("experimnt", "Did you mean 'experiment'?"),
        ("simulat", "Did you mean 'simulate'?"),
        ("zzz", "Known: aggregator,"),
    ],
)
def test_a_misspelt_command_gets_a_suggestion(
    word: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, word) == 2
    assert f"There is no command '{word}'. {hint}" in capsys.readouterr().err


def test_a_misspelt_option_gets_a_suggestion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "workspace", "templates", "--jsn") == 2
    assert "--json" in capsys.readouterr().err


@pytest.mark.parametrize("noun", cli.NOUNS)
def test_every_command_and_every_group_has_help_with_an_example(noun: str) -> None:
    result = CliRunner().invoke(cli.fx, [noun, "--help"])
    assert result.exit_code == 0
    assert f"Example: fx {noun}" in result.output
    command = cli.fx.get_command(click.Context(cli.fx), noun)
    leaves = command.commands.values() if isinstance(command, click.Group) else []
    for leaf in leaves:
        assert f"Example: fx {noun} {leaf.name}" in " ".join((leaf.help or "").split()), leaf.name


def test_the_list_of_nouns_is_that_of_the_modules() -> None:
    for noun in cli.NOUNS:
        command = cli.fx.get_command(click.Context(cli.fx), noun)
        assert command is not None
        assert command.name == noun
    assert cli.fx.get_command(click.Context(cli.fx), "nothing") is None
    assert all(f"\n  {noun}" in CliRunner().invoke(cli.fx, ["--help"]).output for noun in cli.NOUNS)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["experiment", "--help"], ["demo", "--help"]])
@pytest.mark.children
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys\n"
        "from openfl_like.cli.main import main\n"
        f"try:\n    main()\nfinally:\n    print('HEAVY', sorted(set({sorted(HEAVY)}) & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []"
