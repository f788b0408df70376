"""Which sites are played in a dry run, and on how many samples."""

import pytest

from openfl_like.authoring.dry_run.forecast import expected_of, forecast_of
from openfl_like.authoring.dry_run.kinds import MOST_SAMPLES
from openfl_like.authoring.dry_run.rounds import StepsDone
from openfl_like.authoring.dry_run.sites import known_of, roster_sites
from openfl_like.errors import UsageError
from openfl_like.federation.parties import DeviceStatistics, EnvoyRecord, ShardFacts
from openfl_like.federation.task import Phase
from tests.unit.authoring.dry_run.known import kinds, plan_with, site


def test_sites_that_are_alike_are_played_once_and_small_ones_besides() -> None:
    found = kinds(plan_with(), [site("a", 1000), site("b", 200), site("c", 30), site("d", 20), site("e", None)])
    assert [(kind.name, kind.names, kind.invented["train"]) for kind in found] == [
        ("e", ("a", "b", "e"), 48), ("d", ("c", "d"), 20),
    ]  # fmt: skip


def test_sites_with_other_tasks_are_another_kind_and_those_that_train_come_first() -> None:
    groups = [
        {"name": "judges", "collaborators": ["a"], "tasks": ["validate"]},
        {"name": "rest", "collaborators": ["b", "c"], "tasks": ["train", "validate"]},
    ]
    plan = plan_with(assigner={"template": "static", "settings": {"groups": groups}})
    found = kinds(plan, [site("a"), site("b"), site("c")])
    assert [(kind.names, len(kind.calls(plan, Phase.TRAIN))) for kind in found] == [(("b", "c"), 1), (("a",), 0)]


def test_every_class_has_a_sample_and_no_memory_is_filled() -> None:
    (many,) = kinds(plan_with(), [site("a", 10**6, classes=500)])
    assert many.invented["train"] == 500
    (most,) = kinds(plan_with(), [site("a", 10**6, classes=100_000)])
    assert most.invented["train"] == MOST_SAMPLES
    (large,) = kinds(plan_with(), [site("a", 10**6, features=10**7)])
    assert large.invented["train"] == 1


def test_times_are_scaled_to_the_largest_site() -> None:
    sites, plan = [site("a", 480), site("b", 96)], plan_with(aggregator={"settings": {"rounds_to_train": 10}})
    (kind,) = kinds(plan, sites)
    steps = StepsDone(
        rounds=2,
        seconds={(kind.name, Phase.TRAIN): [9.0, 0.5, 0.6], (kind.name, Phase.EVALUATE): [0.3]},
        combine_s=[0.2, 0.1],
        combined=2,
        peak_bytes=1000,
    )
    expected = expected_of([kind], steps)
    forecast = forecast_of(plan, expected, steps, 20)
    assert forecast is not None
    assert (forecast.train_s, forecast.evaluate_s, forecast.combine_s) == (5.0, 0.3, 1.0)
    assert forecast.total_s == 63.0
    assert (forecast.measured_samples, forecast.scaled_to, forecast.slowest) == (48, 480, "a")
    assert forecast.worker_bytes == 1000 + (480 - 48) * (4 * 4 + 8)
    assert forecast_of(plan, expected, StepsDone(), 20) is None


def test_a_roster_is_read_with_what_each_site_tells() -> None:
    facts = ShardFacts((4,), (), schema={"classes": 3}, interface="tables")
    other = ShardFacts((8, 8), (), interface="pictures")
    records = [
        EnvoyRecord("bern", online=True, last_seen=0, shard=other, more_shards=(facts,), running=("x",)),
        EnvoyRecord("ulm", online=True, last_seen=0, shard=other, devices=DeviceStatistics(memory_total_bytes=5)),
        EnvoyRecord("zug", online=False, last_seen=0, shard=facts),
        EnvoyRecord("wien", online=True, last_seen=0, shard=facts, revoked=True),
    ]
    known = {one.name: one for one in roster_sites(records, "tables").sites}
    assert set(known) == {"bern", "ulm", "wien"}
    assert known["bern"].takes_part
    assert known["bern"].busy
    assert (known["ulm"].data, known["ulm"].memory_bytes, known["ulm"].takes_part) == (None, 5, False)
    assert not known["wien"].takes_part


def test_a_director_names_no_folder_of_this_machine() -> None:
    with pytest.raises(UsageError):
        roster_sites([EnvoyRecord("../../home", online=True, last_seen=0, shard=ShardFacts((4,), ()))], None)


def test_what_a_site_publishes_and_nobody_can_read_is_its_problem() -> None:
    odd = known_of("bern", ShardFacts((4,), (), schema={"sample_dtype": "object"}))
    assert odd.data is None
    assert "object" in odd.problem
