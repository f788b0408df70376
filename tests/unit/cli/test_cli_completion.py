"""Completion: a script that the shell can read, and words that are right."""

import shutil
import subprocess

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from openfl_like.cli.completion import VARIABLE
from openfl_like.cli.main import NOUNS, fx


def words(*typed: str) -> list[str]:
    """What is offered for the last of these words."""
    return [item.value for item in BashComplete(fx, {}, "fx", VARIABLE).get_completions(list(typed[:-1]), typed[-1])]


def test_commands_options_and_choices_are_completed() -> None:
    assert words("") == sorted(NOUNS)
    assert words("exp") == ["experiment"]
    assert words("experiment", "re") == ["remove", "report", "results", "resume"]
    assert words("experiment", "logs", "--fo") == ["--follow"]
    assert words("experiment", "logs", "--role", "w") == ["worker"]


def test_names_of_templates_and_plans_are_completed() -> None:
    assert words("workspace", "create", "study", "-t", "torch_h") == ["torch_heart_disease"]
    assert words("plan", "check", "heart") == ["heart_disease", "heart"]  # and files that begin so
    assert "digits_fedavg" in words("demo", "--plan", "digits")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.children
def test_the_script_is_one_that_the_shell_can_read(shell: str) -> None:
    result = CliRunner().invoke(fx, ["completion", shell])
    assert result.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in result.stdout
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=result.stdout, text=True, check=True, timeout=20)


def test_an_unknown_shell_is_refused() -> None:
    assert CliRunner().invoke(fx, ["completion", "csh"]).exit_code == 2
