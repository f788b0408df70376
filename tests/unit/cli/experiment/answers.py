"""Answers that are written down, for what commands print of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest
from click.testing import CliRunner, Result

from openfl_like.api import federation as api
from openfl_like.api.client import AsyncFederation
from openfl_like.cli import status as cli_status
from openfl_like.cli.main import fx
from openfl_like.federation.announcements import (
    Announced,
    AssignmentSent,
    CollaboratorAbsent,
    CollaboratorAdmitted,
    RoundFinished,
    RoundStarted,
)
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.history.metrics import MetricRecord
from openfl_like.federation.history.rounds import ContributorShare, RoundRecord
from openfl_like.federation.parties import (
    DeviceStatistics,
    DirectorStatus,
    EnvoyDetail,
    EnvoyRecord,
    ExperimentRecord,
    ExperimentSummary,
    LogLines,
    LogQuery,
    PublishedVersion,
    RemovedExperiment,
    ShardFacts,
)
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.plan.bundles.packing import Packing, SentFile

AWAY = Failure(FailureKind.LEFT, "no power")
ROUND = RoundFinished(
    round=1,
    digest="d1",
    metrics={"accuracy": 0.5, "validate.accuracy": 0.4},
    contributors=("bern",),
    absent={"zurich": AWAY},
    best=True,
    seconds=1.25,
)
EVENTS = [
    Announced(1, 1.0, CollaboratorAdmitted("bern")),
    Announced(2, 2.0, AssignmentSent(1, Phase.TRAIN, "bern")),
    Announced(3, 3.0, ROUND),
]

FAILURE = [
    Announced(1, 1.0, RoundStarted(2, ("bern",))),
    Announced(
        2,
        1_700_000_000.0,
        CollaboratorAbsent(
            2,
            Phase.TRAIN,
            "bern",
            "failed in task 'train': ValueError: two",
            Failure(
                FailureKind.TASK,
                "two",
                "ValueError",
                "src/model.py",
                7,
                "train",
                samples="float32[16, 30]",
                targets="int64[16]",
            ),
        ),
    ),
]


def summary(status: Status = Status.QUEUED, reason: str = "") -> ExperimentSummary:
    return ExperimentSummary("digits-1", "digits", status, reason, "alice", 1_700_000_000.0, plan_digest="ab")


class Answers:
    """What commands call of `api.Federation`, with answers that are written down for golden texts."""

    end = summary(Status.FINISHED, "all rounds")
    asked: "list[object]"

    def __init__(self, director: str, certificates: Path) -> None:
        Answers.asked = [director, certificates]

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(
        self,
        plan: Path,
        overrides: tuple[str, ...],
        *,
        initial_model: Path | None = None,
        evaluate: dict[str, Path] | None = None,
        on_packed: Callable[[Packing], None] | None = None,
    ) -> ExperimentSummary:
        if on_packed is not None:
            on_packed(Packing((SentFile("src/digits.py", 1200),)))
        self.asked += [plan, overrides, *([initial_model] if initial_model else [])]
        self.asked += [evaluate] if evaluate is not None else []
        return summary()

    def experiments(self) -> list[ExperimentSummary]:
        return [summary(), summary(Status.FAILED, "no sites")]

    def experiment(self, _: str) -> ExperimentRecord:
        version = PublishedVersion(ModelVersion(1, "dd", {"accuracy": 0.5}, best=True), "5a" * 32, 2.0)
        surplus = {"bern": {"late": 2, "repeated": 3}, "zurich": {"unasked": 1}}
        return ExperimentRecord(self.end, (version,), "{}", surplus)

    def watch(
        self, _: str, after: int = 0, *, stored: bool = False, progress: bool = False
    ) -> Iterator[ExperimentSummary | Announced]:
        del progress
        yield summary()
        yield from FAILURE if stored else ()
        yield from (event for event in EVENTS if event.sequence > after and not stored)
        yield self.end

    def rounds(self, _: str) -> Iterator[RoundRecord]:
        boom = Failure(FailureKind.TASK, "boom", task="validate")
        parts = {"bern": ContributorShare(1.0, "b3" * 32)}
        away = {"zurich": AWAY}
        yield RoundRecord(1, "dd", {"accuracy": 0.5}, ("bern", "zurich"), parts, away, ("bern",), away)
        yield RoundRecord(2, "de", {}, ("bern",), parts, {}, (), {"bern": boom})
        yield RoundRecord(3, "", {}, ("bern",), {}, {"bern": boom}, status=Status.FAILED)

    def logs(self, experiment: str, source: str, *, role: str = "", follow: bool = False) -> Iterator[LogLines]:
        self.asked += [role, follow]
        yield LogLines(experiment, source or "aggregator", ("one", "two \x1b[2J"), "worker", 8)

    def cancel(self, _: str) -> ExperimentSummary:
        return summary(Status.CANCELLED, "cancelled by alice")

    def resume(self, _: str) -> ExperimentSummary:
        return replace(summary(), resumed_by="alice")

    def remove(self, experiment: str) -> RemovedExperiment:
        return RemovedExperiment(experiment, 3, 4096)

    @property
    def checkpoints(self) -> "Answers":
        return self

    def fetch(self, experiment: str, path: Path) -> Path:
        path.write_text(experiment)
        return path

    def deliver(self, path: Path) -> ExperimentSummary:
        self.asked.append(path)
        return summary(Status.CANCELLED, "cancelled by bob")

    def model(self, _: str, which: str, path: Path) -> Path:
        path.write_text(which)
        return path

    def status(self) -> DirectorStatus:
        return DirectorStatus("0.1", ("there is no room on the disk of /var/fx",), queued=3, running=1, envoys=2)

    def envoys(self) -> list[EnvoyRecord]:
        devices = DeviceStatistics(cpu_percent=12.3, memory_total_bytes=4 << 30, memory_used_bytes=1 << 30)
        facts = ShardFacts((8, 8), (), "digits", {"counts": {"train": 5}})
        return [EnvoyRecord("bern", online=True, last_seen=1.0, shard=facts, devices=devices, running=("digits-1",))]

    def envoy(self, name: str) -> EnvoyDetail:
        return EnvoyDetail(replace(self.envoys()[0], name=name))

    def ask(self, question: Callable[[AsyncFederation], Coroutine[Any, Any, object]]) -> object:
        return asyncio.run(question(cast("AsyncFederation", AsyncAnswers(self))))


class AsyncAnswers:
    """The same answers for what is asked through the client of programs with an event loop."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.experiments = self.director = self

    @property
    def envoys(self) -> "EnvoyAnswers":
        return EnvoyAnswers(self._answers)

    async def get(self, experiment: str) -> ExperimentRecord:
        return self._answers.experiment(experiment)

    async def list(self) -> list[ExperimentSummary]:
        return self._answers.experiments()

    async def status(self) -> DirectorStatus:
        return self._answers.status()

    async def rounds(self, experiment: str) -> Sequence[RoundRecord]:
        return tuple(self._answers.rounds(experiment))

    async def metrics(self, _: str, *, per_site: bool) -> Sequence[MetricRecord]:
        if not per_site:
            return [MetricRecord(1, "", "", "accuracy", 0.5), MetricRecord(2, "", "", "loss", float("inf"))]
        return [
            MetricRecord(1, "bern", "train", "loss", 0.25, 10),
            MetricRecord(1, "bern", "validate", "loss", 1 / 3, 4),
            MetricRecord(1, "zurich", "train", "loss", 1.0, 7),
        ]

    async def watch(
        self, experiment: str, after: int = 0, *, stored: bool = False
    ) -> AsyncIterator[ExperimentSummary | Announced]:
        for item in self._answers.watch(experiment, after, stored=stored):
            yield item

    async def logs(self, experiment: str, query: LogQuery) -> AsyncIterator[LogLines]:
        for lines in self._answers.logs(experiment, query.source, role=query.role, follow=query.follow):
            yield lines


class EnvoyAnswers:
    """What is answered of envoys."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def envoys(self) -> list[EnvoyRecord]:
        return self._answers.envoys()

    async def envoy(self, name: str) -> EnvoyDetail:
        return self._answers.envoy(name)


Run: TypeAlias = Callable[..., Result]


def connected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Give ``fx`` these answers, in a folder of its own."""
    monkeypatch.setattr(api, "Federation", Answers)
    monkeypatch.setattr(Answers, "end", summary(Status.FINISHED, "all rounds"))
    monkeypatch.chdir(tmp_path)
    ends = ("the certificate of fx://h/user/alice ends on 2026-12-01 00:00 UTC: renew it",)
    monkeypatch.setattr(cli_status, "_own_warnings", lambda _: ends)

    def invoke(*words: str, **environment: str) -> Result:
        where = {"FX_DIRECTOR": "director:1", "FX_CERTIFICATES": "certs/user/alice"} | environment
        return CliRunner(env=where).invoke(fx, list(words), standalone_mode=False)

    return invoke


def fine(result: Result) -> str:
    assert result.exception is None, result.exception
    return result.stdout


def data(result: Result) -> Any:  # noqa: ANN401 (JSON)
    """The data of the one document that a command has printed with --json."""
    document = json.loads(fine(result))
    assert document["ok"] is True
    assert sorted(document) == ["data", "ok"]
    return document["data"]
