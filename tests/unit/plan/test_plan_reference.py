"""The reference page names every key of the plan, with its true default."""

import ast
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel, Tag
from pydantic.fields import FieldInfo

from openfl_like import registry
from openfl_like.errors import PlanError
from openfl_like.failpoints import POINTS
from openfl_like.plan.document import parse_document
from openfl_like.plan.members import PACKAGE
from openfl_like.plan.names import EXCLUDED_AT_TOP
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import Component
from openfl_like.plan.simulation import Quantity

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "plan.md").read_text()
ROWS = {
    key: [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| `")
    for key in re.findall(r"`([^`]+)`", line.split("|")[1])
}


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Gives every key that holds a value, as the page writes it: lists with ``[]``, free names with ``*``."""
    for name, field in model.model_fields.items():
        inner, mark = inside(field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel) and inner is not Quantity:
            yield from keys_of(inner, f"{prefix}{name}{mark}.")
        else:
            yield f"{prefix}{name}", field


def inside(annotation: Any) -> tuple[object, str]:  # noqa: ANN401 - any type there is
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        return arguments[0], "[]"
    if origin is dict and isinstance(arguments[1], type):
        return arguments[1], ".*"
    word_or_value = origin is Annotated and any(isinstance(mark, Tag) for mark in arguments[1:])
    if origin in {Union, types.UnionType} or word_or_value:
        return inside(arguments[0])
    return annotation, ""


def templates_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Gives every key of a component's template that has a default, with that."""
    for name, field in model.model_fields.items():
        inner, mark = inside(field.annotation)
        if isinstance(field.default, Component) and not isinstance(field.default, Quantity):
            yield f"{prefix}{name}.template", field.default.template
        if isinstance(inner, type) and issubclass(inner, BaseModel) and inner is not Quantity:
            yield from templates_of(inner, f"{prefix}{name}{mark}.")


KEYS = dict(keys_of(Plan))
TEMPLATES = dict(templates_of(Plan))
KINDS = (
    "task_runner",
    "data_loader",
    "metric",
    "assigner",
    "selector",
    "work",
    "controller",
    "aggregation",
    "server_optimizer",
    "compression",
    "lossless",
    "validator",
    "partitioner",
    "generator",
    "availability",
)


def test_the_keys_are_found() -> None:
    assert {
        "name",
        "participation.min_fraction",
        "validator[].template",
        "tasks.*.function",
        "stop.any[].metric",
    } <= set(KEYS)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_key_has_its_row(key: str) -> None:
    assert key in ROWS
    assert all(ROWS[key]), f"an empty cell in the row of {key}"


def test_no_row_is_about_a_key_that_is_gone() -> None:
    names = {name for kind in KINDS for name in registry.names(kind)}
    assert {key for key in ROWS if key not in KEYS} <= names


@pytest.mark.parametrize("key", sorted(key for key in KEYS if not key.endswith("].template")))
def test_defaults_are_the_true_ones(key: str) -> None:
    field, cell = KEYS[key], ROWS[key][2]
    if key in TEMPLATES:
        assert cell == f"`{TEMPLATES[key]}`"
    elif field.is_required():
        assert cell == "required"
    else:
        default = field.get_default(call_default_factory=True)
        shown = list(default) if isinstance(default, tuple) else default
        shown = shown.model_dump() if isinstance(shown, Quantity) else shown
        assert cell == "none" if shown is None else yaml.safe_load(cell.strip("`")) == shown


@pytest.mark.parametrize("kind", KINDS)
def test_every_component_has_its_row(kind: str) -> None:
    for name in registry.names(kind):
        assert f"| `{name}` |" in PAGE


@pytest.mark.parametrize("name", sorted(EXCLUDED_AT_TOP))
def test_what_stays_at_home_is_named(name: str) -> None:
    assert f"`{name}`" in PAGE or f"`{name}/`" in PAGE


def test_the_examples_are_sound() -> None:
    whole, *parts = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    parse_document(whole, "plan.md", Plan, PlanError)
    for part in parts:
        section = part.partition(":")[0]
        kept = "\n".join(line for line in whole.splitlines() if not line.startswith(section))
        parse_document(f"{kept}\n{part}", "plan.md", Plan, PlanError)


WORDS = re.compile(r"(?<![\w./{}-])[a-z_]+(?:\[\w*\])?(?:\.[a-z_]+(?:\[\w*\])?)+(?![\w/(]|\.[a-z])")
"""``section.key``, as messages write it: no module, no file, no call."""
OF_PROGRAMS = {"collaborator.log", *POINTS, *(point.partition(".")[2] for point in POINTS)}
"""Written alike, and no keys of a plan: a file, and the failpoints."""


def keys_named_in(source: str) -> Iterator[str]:
    """Gives the words in the texts of a module that are keys of a plan, or want to be."""
    plain = [re.sub(r"\[\]|\.\*", "", key) for key in KEYS]
    sections = {key.partition(".")[0] for key in plain}
    telling = {key.rpartition(".")[2] for key in plain if "." in key and "_" in key.rpartition(".")[2]}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for word in WORDS.findall(node.value):
                section, last = word.partition(".")[0].partition("[")[0], word.rpartition(".")[2]
                if section in sections or last in telling:
                    yield re.sub(r"\[\w*\]", "", word)


def is_key(word: str) -> bool:
    """Whether a plan has it, as a key or a section, or may have it among free settings."""
    plain = {re.sub(r"\[\]|\.\*", "", key): field for key, field in KEYS.items()}
    of_component = word.split(".settings.", maxsplit=1)[0]
    free = f"{of_component}.settings" in plain and of_component != word
    return free or any(f"{key}.".startswith(f"{word}.") for key in plain)


def test_every_key_that_a_message_names_is_there() -> None:
    sources = [path for path in PACKAGE.rglob("*.py") if "protos" not in path.parts]
    named = {word: path.name for path in sources for word in keys_named_in(path.read_text())}
    assert {"deadline.rejoin_s", "model_store.best.metric"} <= set(named)
    assert {word: name for word, name in named.items() if word not in OF_PROGRAMS and not is_key(word)} == {}
