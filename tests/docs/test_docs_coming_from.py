"""What the page for users of other frameworks says is here exists, and what it says is not here does not."""

import importlib.util
import re
from pathlib import Path

import click
import pytest

from openfl_like import registry
from openfl_like.cli.main import fx
from openfl_like.plan.load import load_plan
from openfl_like.plan.mistakes import fields_at
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import find_study, plan_path
from tests.docs.documents import DOCS

PAGE = DOCS / "coming-from.md"
SECTIONS = {"localfed (ModularFed)", "FELES", "FedERA"}
CODE = re.compile(r"`([^`]+)`")
BASE = {"simulation.sites": "digits_dirichlet"}
"""Keys of a section that a plan need not have -> a plan that has it."""


def rows() -> list[tuple[str, str, str]]:
    """Section, what is there, and the cell that says what it is here."""
    found, section = [], ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| ") and not line.startswith("| there |"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            assert len(cells) == 3, line
            found.append((section, cells[0], cells[1]))
    return found


ROWS = rows()
HERE = [(there, text) for _, there, cell in ROWS for text in CODE.findall(cell.partition("not yet")[0])]
NOT_YET = sorted({text for _, _, cell in ROWS for text in CODE.findall(cell.partition("not yet")[2])})
NAMES = {name for kind in registry.BUILTIN for name in registry.names(kind)}
CONTEXT = click.Context(fx, info_name="fx", **fx.context_settings)


def test_every_system_has_its_rows_and_every_row_an_answer() -> None:
    counts = {section: sum(row[0] == section for row in ROWS) for section in SECTIONS}
    assert {row[0] for row in ROWS} == SECTIONS
    assert all(count > 15 for count in counts.values()), counts
    silent = [there for _, there, cell in ROWS if not CODE.search(cell) and cell not in {"none", "not yet"}]
    assert silent == []
    assert len(HERE) > 60


@pytest.mark.parametrize(("there", "text"), HERE)
def test_what_is_said_to_be_here_is_here(there: str, text: str) -> None:
    if text.startswith("fx "):
        assert_command(text.split()[1:])
    elif ": " in text:
        assert_plan_takes(text)
    elif text.startswith("openfl_like."):
        assert_class(*text.split(":"))
    else:
        assert text in NAMES or is_key(text) or text == "defaults", f"{there}: {text}"


@pytest.mark.parametrize("text", NOT_YET)
def test_what_is_said_to_be_missing_is_missing(text: str) -> None:
    assert text not in NAMES
    assert not is_key(text), f"the page on other frameworks says that {text} is not there yet"


def is_key(text: str) -> bool:
    """Whether a plan may have a key; of tasks any name will do."""
    *path, last = text.split(".")
    if path == ["tasks"]:
        return bool(last)
    return last in (fields_at(Plan, tuple(path)) or ())


def assert_class(module: str, name: str) -> None:
    """Find a class in a module, whose framework need not be installed."""
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    assert re.search(rf"^class {name}\b", Path(spec.origin).read_text(), re.MULTILINE), name


def assert_plan_takes(text: str) -> None:
    """Have a ready-made plan changed so, with the checks of any plan."""
    key, _, value = text.partition(": ")
    base = next((plan for prefix, plan in BASE.items() if key.startswith(prefix)), "digits_fedavg")
    load_plan(plan_path(base), (f"{key}={value}",))


def assert_command(words: list[str]) -> None:
    """Find the command, its options, and the ready-made thing that it may name."""
    command: click.Command = fx
    rest = list(words)
    while isinstance(command, click.Group):
        found = command.get_command(CONTEXT, rest.pop(0))
        assert found is not None, words
        command = found
    known = {option for parameter in command.get_params(CONTEXT) for option in parameter.opts}
    assert {word for word in rest if word.startswith("-")} <= known, words
    named = [word for word in rest if not word.startswith("-")]
    if command.name == "run" and named:
        assert find_study(named[0]).is_file()
    elif "--runtime" in rest:
        assert named == [name for name in named if name in registry.names("runtime")]
