"""One run: a simulation, whose every end is a value."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from openfl_like.plan.digest import freeze, plan_digest
from openfl_like.plan.load import load_plan
from openfl_like.store.ports import Stores
from openfl_like.studies.perform import RunOrder, perform
from openfl_like.studies.results import RunState
from openfl_like.studies.worker import ENDED, ROUND, order_line, told_from
from openfl_like.testing.stores import memory_stores

OBEDIENT = Path(__file__).parents[2] / "assets" / "obedient"
SITES = "admission.collaborators=[site-1, site-2, site-3]"


def order_in(folder: Path, *overrides: str) -> RunOrder:
    plan = load_plan(OBEDIENT / "plan.yaml", (SITES, "aggregator.settings.rounds_to_train=6", *overrides))
    folder.mkdir(exist_ok=True)
    (folder / "plan.json").write_bytes(freeze(plan))
    return RunOrder("c1-r1", folder / "plan.json", OBEDIENT, folder / "record", folder / "log.txt")


@pytest.fixture
def stores() -> Stores:
    return memory_stores()


def test_a_run_tells_its_rounds_and_comes_to_rows(tmp_path: Path, stores: Stores) -> None:
    told = list[int]()
    order = order_in(tmp_path)
    result = perform(order, stores, told.append)
    assert told == [0, 1, 2, 3, 4, 5, 6]
    assert (result.state, result.rounds, result.code, result.learnt) == (RunState.FINISHED, 6, "", True)
    assert len(result.sha256) == 64
    assert result.sites == 3
    assert [row.round for row in result.rows] == [1, 2, 3, 4, 5, 6]
    assert set(result.rows[0].metrics) >= {"loss"}
    assert result.rows[0].selected == ("site-1", "site-2", "site-3")
    assert result.selections() == dict.fromkeys(result.rows[0].selected, 6)
    assert result.plan_digest == plan_digest(
        load_plan(OBEDIENT / "plan.yaml", (SITES, "aggregator.settings.rounds_to_train=6"))
    )


def test_a_run_that_pauses_goes_on_to_the_same_result(tmp_path: Path, stores: Stores) -> None:
    whole = perform(order_in(tmp_path / "whole"), stores, lambda _: None)
    order = order_in(tmp_path / "parts")
    paused = perform(replace(order, pause_after=2), stores, lambda _: None)
    assert (paused.state, paused.sha256) == (RunState.PAUSED, "")
    assert paused.rounds >= 2
    assert paused.until(2).rows == whole.rows[:2]
    assert perform(order, stores, lambda _: None) == whole
    assert perform(order, stores, lambda _: None) == whole  # its record had ended


def test_a_task_that_raises_is_a_failed_run_with_its_cause(tmp_path: Path, stores: Stores) -> None:
    order = order_in(tmp_path, "admission.collaborators=[site-1, raising]")
    result = perform(order, stores, lambda _: None)
    assert (result.state, result.code) == (RunState.FAILED, "E501")
    assert "site 'raising'" in result.cause
    assert "train" in result.cause


@pytest.mark.parametrize(
    ("override", "code"),
    [
        ("admission.collaborators=[nowhere]", "E100"),
        ("task_runner.settings.nonsense=1", "E503"),
        ("collaborator.settings.device=cuda:7", "E507"),
    ],
)
def test_what_goes_wrong_before_the_first_round_is_told_with_its_code(
    tmp_path: Path, stores: Stores, override: str, code: str
) -> None:
    result = perform(order_in(tmp_path, override), stores, lambda _: None)
    assert (result.state, result.code) == (RunState.FAILED, code)
    assert result.cause


def test_a_plan_that_is_damaged_is_a_failed_run(tmp_path: Path, stores: Stores) -> None:
    order = order_in(tmp_path)
    order.plan.write_text("{")
    result = perform(order, stores, lambda _: None)
    assert (result.state, result.code, result.plan_digest) == (RunState.FAILED, "E101", "")


def test_lines_of_a_worker_are_read_within_bounds(tmp_path: Path) -> None:
    assert told_from('["round", 3]') == (ROUND, 3)
    assert told_from('["ended", -9]') == (ENDED, -9)
    for line in ("", "hello", '["round"]', '["round", "x"]', "{}", "[" * 5000, '{"round": 3}', "3"):
        assert told_from(line) is None
    line = json.loads(order_line(order_in(tmp_path)))
    assert (line["run"], line["pause_after"]) == ("c1-r1", "0")
