"""What tells experiments apart: keys of their plans, tags, and the metrics of their last and best versions."""

from typing import Any

from openfl_like.api.client import AsyncFederation
from openfl_like.api.listing import as_overrides, compare, listed
from openfl_like.errors import NotFoundError
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.parties import ExperimentRecord, ExperimentSummary, PublishedVersion
from openfl_like.federation.status import Status
from openfl_like.plan.digest import freeze
from openfl_like.plan.schema import Plan

PLAN: dict[str, Any] = {
    "name": "digits",
    "task_runner": {"template": "src.a:B", "settings": {"lr": 0.1}},
    "data_loader": {"template": "numpy"},
    "tasks": {"train": {"function": "train"}},
}


def record(number: int, plan: dict[str, Any], *versions: ModelVersion) -> ExperimentRecord:
    summary = ExperimentSummary(f"digits-{number:08x}", plan["name"], Status.FINISHED, "", "ada", 1.0)
    published = tuple(PublishedVersion(version, "", 2.0) for version in versions)
    return ExperimentRecord(summary, published, freeze(Plan.model_validate(plan)).decode())


def test_plans_of_a_name_are_compared_with_the_first_one() -> None:
    tuned = PLAN | {"seed": 2, "task_runner": {"template": "src.a:B", "settings": {"lr": 0.01, "width": 8}}}
    other = PLAN | {"name": "hearts", "seed": 5}
    found = compare([record(1, PLAN), record(2, tuned), record(3, other), record(4, PLAN)])
    differs = [one.differs for one in found.values()]
    assert differs == [{}, {"seed": 2, "task_runner.settings.lr": 0.01, "task_runner.settings.width": 8}, {}, {}]


def test_tags_are_told_and_are_no_difference() -> None:
    found = compare([record(1, PLAN), record(2, PLAN | {"tags": ["sweep", "lr=0.1"]})])
    assert [(one.tags, one.differs) for one in found.values()] == [((), {}), (("sweep", "lr=0.1"), {})]


def test_the_last_and_the_best_version_are_found() -> None:
    versions = [
        ModelVersion(number, "dd", {"loss": 1 / number}, best=best)
        for number, best in ((3, False), (1, True), (2, True))
    ]
    (one,) = compare([record(1, PLAN, *versions)]).values()
    assert one.last is not None
    assert one.best is not None
    assert (one.last.round, one.best.round) == (3, 2)
    (none,) = compare([record(1, PLAN)]).values()
    assert (none.last, none.best) == (None, None)


def test_a_plan_of_another_release_is_listed_without_differences() -> None:
    summary = ExperimentSummary("digits-00000001", "digits", Status.FINISHED, "", "ada", 1.0)
    found = compare([ExperimentRecord(summary, (), "{}"), record(2, PLAN)])
    assert [one.differs for one in found.values()] == [None, {}]


def test_values_are_written_as_somebody_would_set_them() -> None:
    differs = {"seed": 2, "aggregation.template": "median", "stop": {"any": []}, "a": None, "b": True, "c": 1.5}
    assert as_overrides(differs, most=9) == (
        'seed=2, aggregation.template=median, stop={"any": []}, a=null, b=true, c=1.5'
    )
    assert as_overrides(differs, most=2) == "seed=2, aggregation.template=median and 4 more"
    assert as_overrides({}) == ""


class Asked:
    """Answers for two experiments, of which one was removed a moment ago."""

    def __init__(self) -> None:
        self.experiments = self

    async def get(self, experiment: str) -> ExperimentRecord:
        if experiment != "digits-00000001":
            raise NotFoundError("there is no such experiment")
        return record(1, PLAN)


async def test_one_that_was_removed_meanwhile_is_left_out() -> None:
    client: AsyncFederation = Asked()  # type: ignore[assignment]  # all that is asked
    assert list(await listed(client, ["digits-00000002", "digits-00000001"])) == ["digits-00000001"]
