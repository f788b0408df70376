"""A federation of four hospitals with five experiments, and what is shown of it on screens."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from answers import Answers, AsyncAnswers

from openfl_like.authoring.baselines import Row
from openfl_like.cli import doctor
from openfl_like.cli.demo.commands import _print as print_comparison
from openfl_like.cli.demo.commands import _tell_next as tell_next
from openfl_like.cli.experiment.progress import Screen
from openfl_like.cli.main import fx
from openfl_like.doctor.finding import Finding, Verdict, fine
from openfl_like.doctor.reports import Report
from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    AssignmentSent,
    CollaboratorAbsent,
    CollaboratorAdmitted,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentQueued,
    RoundFinished,
    RoundStarted,
)
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.history.metrics import MetricRecord
from openfl_like.federation.parties import (
    DataProblem,
    DeviceStatistics,
    DirectorStatus,
    EnvoyDetail,
    EnvoyRecord,
    ExperimentRecord,
    ExperimentSummary,
    Interface,
    LogLines,
    PublishedVersion,
    ShardFacts,
    Waiting,
    WaitKind,
)
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.plan.digest import frozen_values
from openfl_like.plan.schema import Best, ModelStore
from openfl_like.testing.faults.checkpoint_moves import PLAN

BEGIN = 1_795_946_400.0
SITES = ("cleveland", "hungary", "switzerland", "va_long_beach")
FINISHED, FAILED, DEGRADED = "heart_disease-1a2b3c4d", "heart_disease-5e6f7a8b", "digits_fedavg-9c0d1e2f"
RUNNING, QUEUED = "digits_fedavg-0badcafe", "breast_cancer-7d8e9f01"
BOOM = Failure(
    FailureKind.TASK,
    "mat1 and mat2 shapes cannot be multiplied (32x34 and 13x16)",
    "RuntimeError",
    "src/model.py",
    41,
    "train",
    phase=Phase.TRAIN,
    round=3,
    site="hungary",
)
OTHER_SHAPE = DataProblem(Interface("", (34,), ()), Interface("", (33,), ()))
BY_AUC = PLAN.model_copy(update={"model_store": ModelStore(best=Best(metric="auc", mode="max"))})
TOO_FEW = "round 3: 4 of 4 updates are needed, 3 can come: site 'hungary' " + str(BOOM)


def summary(name: str, status: Status, reason: str = "") -> ExperimentSummary:
    ended = BEGIN + 100 if status.ended else 0.0
    return ExperimentSummary(name, name[:-9], status, reason, "ada", BEGIN, BEGIN + 1, ended, plan_digest="5e03" * 16)


EXPERIMENTS = {
    item.id: item
    for item in (
        summary(FINISHED, Status.FINISHED, "30 of 30 rounds are done"),
        replace(summary(FAILED, Status.FAILED, TOO_FEW), failure=Failure(FailureKind.QUORUM, TOO_FEW, round=3)),
        replace(
            summary(DEGRADED, Status.FINISHED, "3 of 3 rounds are done"), degraded=True, shortfalls={"hungary": BOOM}
        ),
        summary(RUNNING, Status.RUNNING),
        replace(summary(QUEUED, Status.QUEUED), waiting=Waiting(WaitKind.PLACE, running=1, places=1)),
    )
}


def numbered(told: Sequence[Announcement]) -> list[Announced]:
    return [Announced(number, BEGIN + number, item) for number, item in enumerate(told, 1)]


def rounds(count: int, sites: tuple[str, ...] = SITES, absent: dict[str, Failure] | None = None) -> list[Announcement]:
    told: list[Announcement] = [
        ExperimentQueued("ada"),
        ExperimentBegun(FINISHED, rounds=count, expected=SITES, plan=frozen_values(BY_AUC)),
        *map(CollaboratorAdmitted, SITES),
        RoundFinished(0, "m0", contributors=("cleveland",), seconds=2.5),
    ]
    for number in range(1, count + 1):
        told.append(RoundStarted(number, SITES))
        told += [AssignmentSent(number, Phase.TRAIN, name) for name in SITES]
        told += [CollaboratorAbsent(number, Phase.TRAIN, name, str(f), f) for name, f in (absent or {}).items()]
        metrics = {"accuracy": 0.8 + number / 64, "auc": 0.9 + number / 1024, "loss": 0.5 / number}
        told.append(
            RoundFinished(
                number,
                f"m{number}",
                metrics,
                best=number != 2,
                contributors=sites,
                absent=absent or {},
                seconds=0.125,
            )
        )
    return told


HISTORIES: dict[str, list[Announcement]] = {
    FINISHED: [*rounds(3), ExperimentEnded(Status.FINISHED, "3 of 3 rounds are done", rounds=3)],
    FAILED: [
        *rounds(2),
        RoundStarted(3, SITES),
        *(AssignmentSent(3, Phase.TRAIN, name) for name in SITES),
        CollaboratorAbsent(3, Phase.TRAIN, "hungary", str(BOOM), BOOM),
        ExperimentEnded(Status.FAILED, TOO_FEW, 2, failure=EXPERIMENTS[FAILED].failure),
    ],
    DEGRADED: [
        *rounds(3, tuple(name for name in SITES if name != "hungary"), {"hungary": BOOM}),
        ExperimentEnded(Status.FINISHED, "3 of 3 rounds are done", 3, {"hungary": BOOM}),
    ],
    RUNNING: [*rounds(2), RoundStarted(3, SITES), *(AssignmentSent(3, Phase.TRAIN, name) for name in SITES[:2])],
    QUEUED: [ExperimentQueued("ada")],
}


class Federation(Answers):
    """Five experiments of four hospitals."""

    def experiments(self) -> list[ExperimentSummary]:
        return list(EXPERIMENTS.values())

    def experiment(self, name: str) -> ExperimentRecord:
        finished = [event for event in HISTORIES[name] if isinstance(event, RoundFinished)]
        versions = tuple(
            PublishedVersion(
                ModelVersion(item.round, item.digest, item.metrics, best=item.best and item.round == 3),
                "5ee495ee8e897d93" * 4 if item.round == 3 else "",
                BEGIN,
                kept=True,
            )
            for item in finished
        )
        return ExperimentRecord(EXPERIMENTS[name], versions, "{}", {"va_long_beach": {"late": 2}})

    def watch(
        self, name: str, after: int = 0, *, stored: bool = False, progress: bool = False
    ) -> Iterator[ExperimentSummary | Announced]:
        del progress
        yield from (event for event in numbered(HISTORIES[name]) if event.sequence > after)
        if not stored:
            yield EXPERIMENTS[name]

    def logs(self, experiment: str, source: str, *, role: str = "", follow: bool = False) -> Iterator[LogLines]:
        del role, follow
        text = "WARNING openfl_like.services.collaborator: round 3: " + str(BOOM)
        lines = ("2026-11-29 10:00:05,250 INFO openfl_like.services.collaborator: the worker gets cpu",)
        yield LogLines(experiment, source, (*lines, f"2026-11-29 10:01:05,250 {text}"), "collaborator", 8)

    def status(self) -> DirectorStatus:
        return DirectorStatus("0.2.0", (), queued=1, running=1, envoys=4)

    def envoys(self) -> list[EnvoyRecord]:
        devices = DeviceStatistics(
            cpu_percent=59.0,
            memory_total_bytes=24 << 30,
            memory_used_bytes=6 << 30,
            disk_total_bytes=200 << 30,
            disk_used_bytes=30 << 30,
        )
        facts = ShardFacts((34,), (), "patients", {"counts": {"train": 228, "validate": 76}})
        now = time.time()
        return [
            EnvoyRecord(
                name,
                online=name != "switzerland",
                last_seen=now - (250 if name == "switzerland" else 2),
                shard=facts,
                devices=devices,
                running=(RUNNING,) if name in SITES[:2] else (),
                placed={RUNNING: "cpu"},
                version="" if name == "switzerland" else "0.2.0",
                revoked=name == "switzerland",
                problem=OTHER_SHAPE if name == "va_long_beach" else None,
            )
            for name in SITES
        ]

    def envoy(self, name: str) -> EnvoyDetail:
        return EnvoyDetail(next(record for record in self.envoys() if record.name == name))

    def ask(self, question: Callable[[Any], Any]) -> object:
        return asyncio.run(question(FederationClient(self)))


class FederationClient(AsyncAnswers):
    async def metrics(self, _: str, *, per_site: bool) -> Sequence[MetricRecord]:
        assert per_site
        return [
            MetricRecord(number, site, task, name, 0.5 / (number + place + 1), 76)
            for number in (1, 2, 3)
            for place, site in enumerate(SITES)
            for task, name in (("train", "loss"), ("validate", "accuracy"), ("validate", "auc"))
        ]


def demo() -> None:
    screen = Screen(as_json=False)
    for event in numbered(HISTORIES[FINISHED]):
        screen.event(event)
    rows = [
        Row(name, count, {"loss": loss, "accuracy": accuracy, "auc": 0.9})
        for name, count, loss, accuracy in (
            ("federated", 690, 0.344, 0.9),
            ("cleveland alone", 228, 0.426, 0.839),
            ("pooled", 690, 0.334, 0.887),
        )
    ]
    print_comparison(rows, EXPERIMENTS[FINISHED], as_json=False)
    tell_next(Path("/tmp/fx-demo-x1y2z3/federated.safetensors"), "fx", as_json=False)  # noqa: S108 (a name on a screen)


def doctors() -> None:
    findings = (
        fine("python", "3.12.3 (.venv/bin/python), openfl_like 0.2.0"),
        fine("key file", "certs/envoy/bern/key.pem: mode 0600, this user's"),
        Finding(
            "port",
            Verdict.FAIL,
            "director.example.org:50050 refuses connections",
            "nobody listens there, or a firewall is in between",
            "start the Director there, or see that port 50050 is open in the firewalls between here and there",
        ),
        Finding(
            "clock",
            Verdict.WARN,
            "this clock is 40 s behind the Director's",
            "a certificate that was just made is not valid yet for a clock that is behind",
            "set the clock by NTP",
        ),
        Finding("admission", Verdict.SKIP, "not looked at, since 'port' is wrong"),
    )
    assert doctor._show([Report("site 'bern'", findings)], as_json=False) == 1


def command(*words: str) -> Callable[[], None]:
    def run() -> None:
        fx.main(list(words), standalone_mode=False)

    return run


SHOWN: dict[str, Callable[[], None]] = {
    "demo": demo,
    "status": command("status"),
    "envoy-list": command("envoy", "list"),
    "experiment-list": command("experiment", "list"),
    "experiment-show": command("experiment", "show", DEGRADED),
    "experiment-watch": command("experiment", "watch", DEGRADED),
    "experiment-why-failed": command("experiment", "why", FAILED),
    "experiment-why-degraded": command("experiment", "why", DEGRADED),
    "experiment-why-running": command("experiment", "why", RUNNING),
    "experiment-why-queued": command("experiment", "why", QUEUED),
    "doctor": doctors,
}
