import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from openfl_like.cli.plan import plan
from openfl_like.errors import NotFoundError, PlanError, UsageError
from openfl_like.plan.digest import plan_digest, thaw
from openfl_like.plan.load import load_plan

TEXT = """\
name: digits
task_runner: {template: src.digits:DigitsRunner}
data_loader: {template: src.digits:DigitsLoader}
tasks: {train: {function: train}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "plan.yaml").write_text(TEXT)
    return tmp_path / "plan.yaml"


def run(*words: str) -> Result:
    return CliRunner().invoke(plan, list(words), standalone_mode=False)


def test_check_says_that_all_is_well(path: Path) -> None:
    result = run("check", str(path))
    assert result.exception is None
    assert "no mistakes" in result.stderr
    assert plan_digest(load_plan(path)) in result.stderr


def test_check_lists_the_mistakes(path: Path) -> None:
    error = run("check", str(path), "-s", "sed=1", "-s", "seed=x").exception
    assert isinstance(error, PlanError)
    assert len(error.problems) == 2


def test_check_looks_for_the_workspace(path: Path) -> None:
    error = run("check", str(path), "-s", "workspace=nowhere").exception
    assert isinstance(error, PlanError)
    assert "nowhere" in str(error)


def test_check_knows_the_ready_made_plans() -> None:
    assert run("check", "digits_fedavg").exception is None
    assert isinstance(run("check", "digits_fedavgg").exception, NotFoundError)


def test_show_prints_the_frozen_plan_as_yaml(path: Path) -> None:
    result = run("show", str(path), "-s", "seed=9")
    digest = plan_digest(load_plan(path, ["seed=9"]))
    assert result.stdout.startswith(f"# digest: {digest}\n")
    shown = yaml.safe_load(result.stdout)
    assert (shown["seed"], shown["admission"]["timeout_s"]) == (9, 60.0)
    (path.parent / "shown.yaml").write_text(result.stdout)
    assert plan_digest(load_plan(path.parent / "shown.yaml")) == digest


def test_show_prints_json(path: Path) -> None:
    found = json.loads(run("show", str(path), "--json").stdout)["data"]
    assert plan_digest(thaw(json.dumps(found["plan"]).encode())) == found["digest"]


def test_help_has_an_example() -> None:
    for words in ([], ["check"], ["show"], ["freeze"], ["diff"], ["estimate"]):
        assert "Example: fx plan" in run(*words, "--help").stdout


def test_a_frozen_plan_is_read_back(path: Path) -> None:
    out = path.parent / "plan.json"
    assert run("freeze", str(path), "-s", "seed=9", "-o", str(out)).exception is None
    assert thaw(out.read_bytes()) == load_plan(path, ["seed=9"])
    assert run("freeze", str(out)).stdout.encode() == out.read_bytes()
    assert isinstance(run("show", str(out), "-s", "seed=1").exception, UsageError)


def test_diff_lists_keys(path: Path) -> None:
    (path.parent / "other.yaml").write_text(TEXT + "seed: 5\n")
    other = str(path.parent / "other.yaml")
    found = json.loads(run("diff", str(path), other, "--json").stdout)["data"]
    assert found["differences"] == [{"key": "seed", "first": 0, "second": 5}]
    assert not found["equal"]
    assert "seed" in run("diff", str(path), other).stdout
    assert "the same" in run("diff", other, other).stderr
    assert json.loads(run("diff", other, other, "--json").stdout)["data"]["equal"]
