"""Where parts may come from, and how those of a workspace are loaded."""

import dataclasses
from pathlib import Path

import pytest

from openfl_like import registry
from openfl_like.errors import PlanError
from openfl_like.federation.failure import FailedPartError
from openfl_like.federation.participation.selection import AllSelector, SelectionView
from openfl_like.federation.parts.source import REGISTERED, WorkspaceParts
from openfl_like.plan.section import Component


def test_nobody_builds_code_of_a_workspace_by_default(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for kind in sorted(registry.OF_A_ROUND):
        component = Component(template="subprocess:Popen", settings={"args": ["touch", str(canary)]})
        with pytest.raises(PlanError, match="which does not run here") as caught:
            REGISTERED.build(kind, component, kind)
        assert "referee: process" in caught.value.cure
    assert not canary.exists()


def test_a_workspace_brings_parts_of_a_round_and_nothing_else(tmp_path: Path) -> None:
    parts = WorkspaceParts(tmp_path)
    assert parts.build("selector", Component(template="all"), "selector") == AllSelector()
    for kind in ("compression", "lossless", "runtime", "model_format"):
        with pytest.raises(PlanError, match=f"there is no {kind} named"):
            parts.build(kind, Component(template="os:system"), kind)


def test_two_workspaces_may_have_modules_of_one_name(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "mine.py").write_text(
            "from openfl_like.federation.participation.selection import AllSelector\n"
            f"class Mine(AllSelector):\n    def wanted(self, view): return {number}\n"
        )
    view = dataclasses.replace(SelectionView.of(("a", "b", "c")))
    wanted = [
        WorkspaceParts(tmp_path / str(number))
        .build("selector", Component(template="mine:Mine"), "selector")
        .wanted(view)  # type: ignore[attr-defined]  # it is a selector
        for number in (1, 2)
    ]
    assert wanted == [1, 2]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("1 / 0", "the selector 'mine:Mine' cannot be imported: it raised ZeroDivisionError"),
        ("def Mine(): raise OSError('no')", "the selector 'mine:Mine' cannot be built: it raised OSError: no"),
    ],
)
def test_what_cannot_be_loaded_is_told_with_its_line(tmp_path: Path, code: str, told: str) -> None:
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(FailedPartError, match=told) as caught:
        WorkspaceParts(tmp_path).build("selector", Component(template="mine:Mine"), "selector")
    assert caught.value.failure.file.endswith("mine.py")
    assert caught.value.failure.line == 1


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (
            "mine:Mine",
            "the selector 'mine:Mine' cannot be built: the module 'mine' has no 'Mine'; did you mean 'Mind'?",
        ),
        ("mine:Other", "the selector 'mine:Other' cannot be built: the module 'mine' has no 'Other'"),
        ("his:Mine", "cannot be built: the module 'his' is neither in the workspace nor installed"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, template: str, told: str) -> None:
    (tmp_path / "mine.py").write_text("class Mind: ...\n")
    with pytest.raises(FailedPartError) as caught:
        WorkspaceParts(tmp_path).build("selector", Component(template=template), "selector")
    assert caught.value.failure.message.endswith(told)


@pytest.mark.parametrize("error", ["UpdateRefusedError", "PlanError"])
@pytest.mark.parametrize(
    ("kind", "base", "method"),
    [
        ("selector", "openfl_like.federation.participation.selection:AllSelector", "wanted(self, view)"),
        ("validator", "openfl_like.aggregation.validators:Finite", "check(self, update, base, facts)"),
    ],
)
def test_what_decides_or_checks_cannot_blame_a_site_or_the_plan(
    tmp_path: Path, kind: str, base: str, method: str, error: str
) -> None:
    module, _, name = base.partition(":")
    (tmp_path / "mine.py").write_text(
        f"from {module} import {name}\nfrom openfl_like.errors import {error}\n"
        f"class Mine({name}):\n    def {method}: raise {error}('the site did it')\n"
    )
    part = WorkspaceParts(tmp_path).build(kind, Component(template="mine:Mine"), kind)
    given = (SelectionView.of(("a",)),) if kind == "selector" else (None, None, None)
    with pytest.raises(FailedPartError, match=f"raised {error}: the site did it"):
        getattr(part, method.partition("(")[0])(*given)
