"""Announcements: every kind to JSON and back, records of other versions, and what they must not cost."""

import ast
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

import openfl_like
from openfl_like.federation.announcements import (
    FORM,
    KINDS,
    AggregatorLost,
    Announced,
    AssignmentSent,
    CollaboratorAbsent,
    CollaboratorAdmitted,
    CollaboratorAway,
    CollaboratorRefused,
    CollaboratorsAdmitted,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentImported,
    ExperimentQueued,
    ExperimentResumed,
    ExperimentWaiting,
    Known,
    ModelKept,
    ModelMade,
    ModelsEvaluated,
    NothingLearnt,
    RoundFinished,
    RoundSkipped,
    RoundStarted,
    UnknownAnnouncement,
    UpdateLost,
    UpdateReceived,
    UpdateRefused,
    UpdateSurplus,
    fields_of,
    from_fields,
    from_json,
    only,
    to_json,
)
from openfl_like.federation.callback_end import CallbackEnd, CallbackEnded
from openfl_like.federation.deliveries import UpdateStatus
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.reports.progress import TaskProgressed
from openfl_like.federation.round_control import RoundControlled
from openfl_like.federation.status import Status
from openfl_like.federation.task import BufferTaken, DevicesWorked, Phase, UpdatePartial
from openfl_like.federation.unmeasured import MetricMissing, MetricsUndefined
from openfl_like.federation.validation.scoring import Unscored, UpdatesScored
from openfl_like.federation.validation.verdict import (
    Consequence,
    Measure,
    ModelRejected,
    UpdatesJudged,
    UpdateVerdict,
)

VERDICT = UpdateVerdict("a", "norm", Measure.NORM, 12.5, 3.0, Consequence.CLIP)
FAILURE = Failure(FailureKind.TASK, "no", "NoData", "src/m.py", 3, "t", "", Phase.TRAIN, 0, "a", -9)
EVERY: tuple[Known, ...] = (
    ExperimentQueued("ada"),
    ExperimentResumed("bob"),
    ExperimentImported("bob", "there", "ada"),
    ExperimentWaiting(("a",), ("b", "c"), 3, 60.0),
    ExperimentBegun("exp-1", "exp", ("a", "b"), 3, resumed=True, epoch=2, plan={"name": "exp", "seed": 7}),
    AggregatorLost("the aggregator ended: killed by SIGKILL", 2),
    CollaboratorAdmitted("a", member=False),
    CollaboratorsAdmitted(1000),
    CollaboratorAway("a", "no power", gone=True),
    CollaboratorRefused("z", "it is not one of the plan's"),
    RoundStarted(1, ("a", "b"), 2),
    AssignmentSent(1, Phase.TRAIN, "a", ("train", "validate")),
    UpdateReceived(1, Phase.TRAIN, "a", 600, {"train": {"loss": 0.1}}, 1.5),
    UpdateLost(1, Phase.TRAIN, "a"),
    UpdateRefused(1, Phase.EVALUATE, "a", "it was not asked for"),
    BufferTaken(2, ("b", "a"), (1, 0), (0.5, 1.0)),
    UpdatesJudged(1, Phase.TRAIN, (VERDICT, replace(VERDICT, observed=None, action=Consequence.DROP))),
    UpdatesScored(1, "accuracy", 0.5, {"a": 0.75}, {"a": "b", "b": "a"}, {"b": Unscored.ABSENT}),
    UpdateSurplus(1, "a", UpdateStatus.LATE, 500),
    CollaboratorAbsent(1, Phase.INITIALISE, "a", "failed in task 't': NoData", FAILURE),
    ModelMade(1, "d1", {"a": 0.25, "b": 0.75}, {"a": "da", "b": "db"}),
    ModelsEvaluated(1, {"a": {"bern": {"loss": 0.5}}}),
    MetricMissing(1, "acuracy", ("stop.any[0].metric",), ("accuracy", "loss")),
    MetricsUndefined(1, Phase.EVALUATE, "bern", {"validate": {"auc": "nan"}}),
    ModelKept(1, "aa", {"bern": "bb"}),
    ModelRejected(2, "bb", "aa", "loss", 0.75, 0.25, 0.125, {"loss": 0.75}),
    NothingLearnt(3, "d0"),
    DevicesWorked(1, {"a": 2.5}, {"a": 1.5}, ("a",), ("b",), ("c", "d"), 7),
    UpdatePartial(1, "a", 96, 3),
    TaskProgressed(1, Phase.TRAIN, "a", "train", 1, 4, 30, 50, 100, 2.5, {"loss": 0.5}),
    RoundControlled(2, {"b": "tired"}, {"a": 0.5}, {"train": {"learning_rate": 0.1}}, "enough"),
    RoundSkipped(2, "aa", 2, 1),
    RoundFinished(
        1,
        "d1",
        {"loss": 0.5},
        selected=("a", "b"),
        contributors=("a",),
        absent={"b": FAILURE},
        evaluators=("a",),
        unevaluated={"b": FAILURE},
        seconds=2.5,
        best=True,
    ),
    CallbackEnded("save", CallbackEnd.FULL, "its files have 11 bytes, the limit is 10"),
    ExperimentEnded(Status.FINISHED, "3 of 3 rounds are done", 3, {"b": FAILURE}, FAILURE, "ada"),
)
PACKAGE = Path(openfl_like.__file__).parent


def test_there_is_one_of_every_kind() -> None:
    assert [told.kind for told in EVERY] == list(KINDS)
    assert {type(told) for told in EVERY} == {*KINDS.values()}


@pytest.mark.parametrize("told", EVERY, ids=lambda told: told.kind)
def test_it_is_read_as_it_was_written(told: Known) -> None:
    text = to_json(told)
    assert from_json(told.kind, text) == told
    assert from_fields(told.kind, json.loads(text)) == told
    assert json.loads(text).pop("form") == FORM
    assert "form" not in fields_of(told)
    assert list(fields_of(told)) == [item.name for item in fields(told)]


def test_a_record_of_the_first_version_is_read_with_what_it_has() -> None:
    old = '{"experiment_id":"e-1","name":"e","expected":["a"],"rounds":3,"resumed":false,"epoch":1}'
    assert from_json("experiment_started", old) == ExperimentBegun("e-1", "e", ("a",), 3, epoch=1)
    assert from_json("round_finished", '{"round":1,"digest":"d1"}') == RoundFinished(1, "d1")
    ended = '{"status":"FINISHED","shortfalls":{"a":"round 1: left"}}'
    words = Failure(FailureKind.TOLD, "round 1: left")
    assert from_json("experiment_ended", ended) == ExperimentEnded(Status.FINISHED, shortfalls={"a": words})


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("model_distilled", '{"round":1}'),
        ("round_finished", '{"round":1}'),
        ("assignment_sent", '{"round":1,"phase":"distil","collaborator":"a"}'),
        ("experiment_ended", '{"status":7}'),
        ("round_finished", '{"round":1,"digest":"d1","absent":{"bern":null}}'),
        ("round_finished", '{"round":1,"digest":"d1","absent":{"bern":{"message":"of no kind"}}}'),
    ],
)
def test_what_this_version_cannot_read_is_kept_as_it_is(kind: str, text: str) -> None:
    told = from_json(kind, text)
    assert told == UnknownAnnouncement(kind, json.loads(text))
    assert json.loads(to_json(told)) == json.loads(text)


DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000


@pytest.mark.parametrize("text", ["[]", "7", "", "{", DEEP, "[" * 100_000], ids=lambda text: text[:8])
def test_text_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json("round_finished", text)


def test_those_of_one_kind_are_picked_in_their_order() -> None:
    history = [Announced(number, 0.0, told) for number, told in enumerate([*EVERY, RoundFinished(2, "d2")], 1)]
    assert [told.round for told in only(history, RoundFinished)] == [1, 2]


def _lookups(tree: ast.AST) -> Iterator[int]:
    """Lines with ``fields["…"]``, ``….fields["…"]`` or ``….fields.get("…")``."""
    for node in ast.walk(tree):
        key = node.slice if isinstance(node, ast.Subscript) else None
        holder: ast.AST | None = node.value if isinstance(node, ast.Subscript) else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            key, holder = (node.args[0] if node.args else None), node.func.value
        name = getattr(holder, "id", getattr(holder, "attr", ""))
        if name == "fields" and isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield node.lineno  # type: ignore[attr-defined] # both kinds have one


def test_nobody_else_looks_fields_up_by_their_names() -> None:
    assert [*_lookups(ast.parse('fields["a"]; event.fields["a"]; event.fields.get("a"); fields.get("a")'))] == [1] * 4
    spared = {"federation/announcements.py", "services/identity/enrolment_server.py"}  # that: of questions of its own
    places = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if str(path.relative_to(PACKAGE)) not in spared
        for line in _lookups(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert places == []
