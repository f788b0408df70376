from pathlib import Path

import pytest

from openfl_like.errors import BundleError, ConflictError, PlanError
from openfl_like.plan.bundles.archive import END, header_of
from openfl_like.plan.bundles.bundle import pack
from openfl_like.plan.bundles.exchange import export_workspace, import_workspace
from openfl_like.plan.difference import differences
from openfl_like.plan.digest import plan_digest, plan_text
from openfl_like.plan.document import parse_document
from openfl_like.plan.load import load_plan
from openfl_like.plan.schema import AggregationSection, Plan, Task
from openfl_like.plan.section import Component
from openfl_like.plan.workspace import create_workspace

ODD = ["1e-3", "no", "null", "0x10", "1:30", "~", "", " a", "a: b", "# no", "ä\n", "true", ".5", "- x", "x:"]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return create_workspace(tmp_path / "mine", "numpy_breast_cancer")


def test_a_workspace_survives_export_and_import(workspace: Path, tmp_path: Path) -> None:
    plan = export_workspace(workspace / "plan.yaml", tmp_path / "one.tar").plan
    made = tmp_path / "deeper" / "theirs"
    assert import_workspace(tmp_path / "one.tar", made) == plan
    export_workspace(made / "plan.yaml", tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    code = {path.relative_to(workspace) for path in (workspace / "src").iterdir()}
    assert code == {path.relative_to(made) for path in (made / "src").iterdir()}
    assert sorted(path.name for path in made.parent.iterdir()) == ["theirs"]


def test_what_belongs_to_a_site_is_not_exported(workspace: Path, tmp_path: Path) -> None:
    assert (workspace / "shard.yaml").exists()
    export_workspace(workspace / "plan.yaml", tmp_path / "one.tar")
    import_workspace(tmp_path / "one.tar", tmp_path / "theirs")
    names = {path.name for path in (tmp_path / "theirs").iterdir()}
    assert names == {"plan.yaml", "src", "requirements.txt", "README.md"}


def test_overrides_are_exported(workspace: Path, tmp_path: Path) -> None:
    export_workspace(workspace / "plan.yaml", tmp_path / "one.tar", ["seed=99"])
    assert import_workspace(tmp_path / "one.tar", tmp_path / "theirs").seed == 99
    assert load_plan(tmp_path / "theirs" / "plan.yaml").seed == 99


def test_nothing_is_overwritten(workspace: Path, tmp_path: Path) -> None:
    export_workspace(workspace / "plan.yaml", tmp_path / "one.tar")
    before = sorted(workspace.rglob("*"))
    with pytest.raises(ConflictError, match="something already"):
        import_workspace(tmp_path / "one.tar", workspace)
    assert sorted(workspace.rglob("*")) == before


def test_a_hostile_archive_leaves_nothing_behind(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    pack(tmp_path / "code", plan, tmp_path / "good.tar")
    good = (tmp_path / "good.tar").read_bytes()
    (tmp_path / "bad.tar").write_bytes(good.removesuffix(END) + header_of("../evil", 0) + END)
    with pytest.raises(BundleError, match="evil"):
        import_workspace(tmp_path / "bad.tar", tmp_path / "theirs")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar", "code", "good.tar"]


def test_an_archive_with_a_wrong_plan_is_refused(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    wrong = plan.model_copy(update={"aggregation": AggregationSection(template="os system")})
    pack(tmp_path / "code", wrong, tmp_path / "bad.tar")
    with pytest.raises(PlanError, match="os system"):
        import_workspace(tmp_path / "bad.tar", tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()


def test_an_archive_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        import_workspace(tmp_path / "nothing.tar", tmp_path / "theirs")


@pytest.mark.parametrize("text", ODD)
def test_text_stays_text_in_a_written_plan(plan: Plan, text: str) -> None:
    task = Task(function="train", kwargs={"note": text, "rate": 1e-05, "many": [text]})
    changed = plan.model_copy(update={"tasks": {"train": task}})
    again = parse_document(plan_text(changed), "plan.yaml", Plan, PlanError)
    assert plan_digest(again) == plan_digest(changed)


def test_differences_are_named_by_key(plan: Plan) -> None:
    other = plan.model_copy(update={"seed": 8, "assigner": Component(template="all", settings={"x": 1})})
    assert [(d.key, d.first, d.second) for d in differences(plan, other)] == [
        ("assigner.settings.x", None, 1),
        ("seed", plan.seed, 8),
    ]
    assert differences(plan, plan) == []


def test_the_order_of_tasks_is_a_difference(plan: Plan) -> None:
    turned = plan.model_copy(update={"tasks": dict(reversed(plan.tasks.items()))})
    (found,) = differences(plan, turned)
    assert (found.key, found.first) == ("tasks", list(plan.tasks))


def test_a_truth_is_no_number(plan: Plan) -> None:
    one = plan.model_copy(update={"selector": Component(template="all", settings={"x": 1})})
    true = plan.model_copy(update={"selector": Component(template="all", settings={"x": True})})
    assert [item.key for item in differences(one, true)] == ["selector.settings.x"]
