"""The reference page names every key of the plan, with its true default."""

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from openfl_like import registry
from openfl_like.errors import PlanError
from openfl_like.plan.document import parse_document
from openfl_like.plan.names import EXCLUDED_AT_TOP
from openfl_like.plan.schema import Plan

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
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys_of(inner, f"{prefix}{name}{mark}.")
        else:
            yield f"{prefix}{name}", field


def inside(annotation: Any) -> tuple[object, str]:  # noqa: ANN401 - any type there is
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        return arguments[0], "[]"
    if origin is dict and isinstance(arguments[1], type):
        return arguments[1], ".*"
    if origin in {Union, types.UnionType}:
        return inside(arguments[0])
    return annotation, ""


KEYS = dict(keys_of(Plan))
KINDS = (
    "task_runner",
    "data_loader",
    "assigner",
    "selector",
    "aggregation",
    "server_optimizer",
    "compression",
    "lossless",
    "validator",
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
    section = Plan.model_fields[key.partition(".")[0].removesuffix("[]")]
    if key.endswith(".template") and not section.is_required():
        assert cell == f"`{section.default.template}`"
    elif field.is_required():
        assert cell == "required"
    else:
        default = field.get_default(call_default_factory=True)
        shown = list(default) if isinstance(default, tuple) else default
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
