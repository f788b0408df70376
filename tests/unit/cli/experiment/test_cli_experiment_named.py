"""Experiments as users name, tag and compare them."""

from dataclasses import replace
from pathlib import Path

import pytest
from answers import Answers, Run, connected, data, fine, summary
from click import BadParameter

from openfl_like.errors import NotFoundError, UsageError
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.parties import ExperimentRecord, PublishedVersion
from openfl_like.federation.status import Status
from openfl_like.plan.digest import freeze
from openfl_like.plan.schema import Plan


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return connected(monkeypatch, tmp_path)


IDS = ("digits-1a2b3c4d", "heart-5e6f7a8b", "digits-9c0d1e2f")


@pytest.mark.parametrize(
    "command",
    ["show", "rounds", "metrics", "watch", "logs", "why", "cancel", "resume", "export", "model", "remove --yes"],
)
def test_an_experiment_is_named_by_a_beginning_or_as_the_last(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    found = [replace(summary(Status.FINISHED), id=name) for name in IDS]
    monkeypatch.setattr(Answers, "experiments", lambda _: found)
    for named in ("heart", "last", "digits-1"):
        assert run("experiment", *command.split(), named).exception is None
    assert isinstance(run("experiment", *command.split(), "digits").exception, UsageError)
    assert isinstance(run("experiment", *command.split(), "heartt").exception, NotFoundError)


def test_what_is_gone_for_good_is_named_by_its_whole_id(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answers, "experiments", lambda _: [replace(summary(Status.FINISHED), id=name) for name in IDS])
    for named in ("heart", "last"):
        error = run("experiment", "remove", named).exception
        assert isinstance(error, UsageError)
        assert "which would be gone for good (fx experiment remove " in str(error)
    assert run("experiment", "remove", "heart-5e6f7a8b").exception is None


def test_files_are_named_after_the_whole_id(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answers, "experiments", lambda _: [replace(summary(), id=name) for name in IDS])
    assert "digits-9c0d1e2f.tar" in fine(run("experiment", "export", "last"))
    assert "heart-5e6f7a8b-best.safetensors" in fine(run("experiment", "model", "heart"))


def test_a_whole_id_needs_no_list(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Answers, "experiments")
    assert "digits-1a2b3c4d" in fine(run("experiment", "export", "digits-1a2b3c4d"))


def test_the_best_model_is_told_with_what_it_is_best_by(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan.model_validate(
        {
            "name": "digits",
            "task_runner": {"template": "src.a:B"},
            "data_loader": {"template": "numpy"},
            "tasks": {"train": {"function": "train"}},
        }
    )
    versions = tuple(
        PublishedVersion(ModelVersion(number, "dd", {"loss": loss}, best=best), "", 2.0)
        for number, loss, best in ((1, 0.5, True), (2, 0.25, True), (3, 0.75, False))
    )
    record = ExperimentRecord(summary(), versions, freeze(plan).decode())
    monkeypatch.setattr(Answers, "experiment", lambda *_: record)
    told = run("experiment", "model", "digits-1").stderr
    assert "round 2 is the best by loss (0.25), less being better; a plan may name another metric" in told
    assert "best" not in run("experiment", "model", "digits-1", "--which", "last").stderr


def tagged(number: int, *tags: str, seed: int = 0) -> ExperimentRecord:
    plan = Plan.model_validate(
        {
            "name": "digits",
            "seed": seed,
            "tags": tags,
            "task_runner": {"template": "src.a:B"},
            "data_loader": {"template": "numpy"},
            "tasks": {"train": {"function": "train"}},
        }
    )
    versions = (
        PublishedVersion(ModelVersion(1, "dd", {"loss": 0.25, "train.loss": 9.0}, best=True), "", 2.0),
        PublishedVersion(ModelVersion(2, "de", {"loss": 0.5}), "", 3.0),
    )
    return ExperimentRecord(replace(summary(), id=f"digits-{number:08x}"), versions, freeze(plan).decode())


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    three = (tagged(1), tagged(2, "sweep", seed=2), tagged(3, "sweep", "a=1", seed=3))
    records = {one.summary.id: one for one in three}
    monkeypatch.setattr(Answers, "experiments", lambda _: [one.summary for one in records.values()])
    monkeypatch.setattr(Answers, "experiment", lambda _, name: records[name])


@pytest.mark.usefixtures("sweep")
def test_the_list_says_what_differs(run: Run) -> None:
    text = fine(run("experiment", "list"))
    assert "seed=2" in text
    assert "round 2: loss 0.5" in text
    assert "round 1: loss 0.25" in text
    assert "train.loss" not in text
    listed = data(run("experiment", "list", "--json"))
    assert [row["listed"]["differs"] for row in listed] == [{}, {"seed": 2}, {"seed": 3}]
    assert listed[2]["listed"]["tags"] == ["sweep", "a=1"]


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize(
    ("tags", "numbers"), [((), [1, 2, 3]), (("sweep",), [2, 3]), (("sweep", "a=1"), [3]), (("none",), [])]
)
def test_the_list_of_a_tag(run: Run, tags: tuple[str, ...], numbers: list[int]) -> None:
    words = [word for tag in tags for word in ("--tag", tag)]
    rows = data(run("experiment", "list", "--json", *words))
    assert [row["id"] for row in rows] == [f"digits-{number:08x}" for number in numbers]


def test_tags_are_in_the_plan_that_is_submitted(run: Run) -> None:
    tags = ("--tag", "sweep", "--tag", "lr=0.1", "--tag", "sweep")
    fine(run("experiment", "submit", "plan.yaml", "-s", "seed=2", *tags))
    assert ("seed=2", 'tags=["sweep", "lr=0.1"]') in Answers.asked
    fine(run("experiment", "submit", "plan.yaml", "-s", "seed=2"))
    assert ("seed=2",) in Answers.asked


@pytest.mark.parametrize("tag", ["two words", "", "-x", "ü", "a" * 64, "a/b"])
def test_what_is_no_tag_is_refused_before_anything_is_read(run: Run, tag: str) -> None:
    for words in (("submit", "nowhere.yaml"), ("list",)):
        result = run("experiment", *words, f"--tag={tag}")
        assert isinstance(result.exception, BadParameter)
        assert "is not a tag, which is 1 to 63 letters" in result.exception.message
