"""What a run has left behind, as values: client history, databases, files, process table. Logs are not asked."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from openfl_like.errors import FederationError
from openfl_like.federation.announcements import Announcement, from_json
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.sqlite.director import director_database
from openfl_like.store.sqlite.experiment import experiment_database
from openfl_like.store.sqlite.inspection import Row, complaint, rows
from openfl_like.tensors.manifest import file_digest, sha256_file
from openfl_like.testing.faults.call_history import RecordedCall, read_history


@dataclass(frozen=True, slots=True)
class Happened:
    """A row of an experiment's history; ``epoch`` is that of the Aggregator that has committed it, 0 for others."""

    sequence: int
    told: Announcement
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Version:
    """A row of an experiment's versions; ``epoch`` is that of the Aggregator that has committed it."""

    round: int
    digest: str
    sha256: str = ""
    best: bool = False
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model on disk: its identity and its SHA-256, both hex."""

    digest: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ExperimentEvidence:
    """One experiment.

    Attributes:
        id: As in the Director's database.
        request_id: The request that made it.
        status: Where it stands.
        reason: Why it ended.
        plan_digest: Identity of its plan.
        bundle: Digest that its bundle must have.
        bundle_found: Digest of the file; empty if there is none.
        events: Its history, in order.
        versions: Its published versions, by round.
        models: Round -> its file.
        epoch: The newest that was taken.
        damage: What is wrong with its database; empty when it is sound.
    """

    id: str
    request_id: str
    status: str
    reason: str = ""
    plan_digest: str = ""
    bundle: str = ""
    bundle_found: str = ""
    events: Sequence[Happened] = ()
    versions: Sequence[Version] = ()
    models: Mapping[int, ModelFile] = field(default_factory=dict)
    epoch: int = 0
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that should not be there."""

    pid: int
    command: str


@dataclass(frozen=True, slots=True)
class RunEvidence:
    """Everything a verdict is made of.

    Attributes:
        calls: What clients asked and were told.
        experiments: The Director's rows, in order, each with what is in its directory.
        requests: (request id, experiment) of every row that says who asked for what.
        strangers: Files and directories of the state that belong to no experiment.
        damage: What is wrong with the Director's database; empty when it is sound.
        strays: Processes that outlived the federation.
        held: Ports of it that somebody still listens on.
        live: Experiments that have a running Aggregator.
    """

    calls: Sequence[RecordedCall] = ()
    experiments: Sequence[ExperimentEvidence] = ()
    requests: Sequence[tuple[str, str]] = ()
    strangers: Sequence[str] = ()
    damage: str = ""
    strays: Sequence[Process] = ()
    held: Sequence[int] = ()
    live: frozenset[str] = frozenset()


def gather(state: Path, history: Path, strays: Sequence[Process] = (), held: Sequence[int] = ()) -> RunEvidence:
    """Read what a Director and its clients left behind.

    Args:
        state: The Director's state directory.
        history: The clients' history.
        strays: As `strays_below` found them.
        held: As `held_ports` found them.
    """
    files = DirectorFiles(state)
    submitted, requests, damage = _director(director_database(files))
    experiments = [_experiment(files.experiments / str(row["id"]), row) for row in submitted]
    known = {item.id for item in experiments}
    strangers = [path for path in _entries(files.experiments) if path.name not in known]
    strangers += [path for path in _entries(files.incoming) if path.is_dir()]
    return RunEvidence(
        calls=read_history(history),
        experiments=experiments,
        requests=requests,
        strangers=[str(path.relative_to(state)) for path in strangers],
        damage=damage,
        strays=strays,
        held=held,
    )


def strays_below(directory: Path, known: Collection[int] = ()) -> list[Process]:
    """Find processes that work below a directory or name it in their command line, but for the known ones and us."""
    ours = {psutil.Process().pid, *(process.pid for process in psutil.Process().parents()), *known}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid in ours or process.status() == psutil.STATUS_ZOMBIE:
                continue
            command = " ".join(process.cmdline())
            if str(directory) in command or Path(process.cwd()).is_relative_to(directory):
                found.append(Process(process.pid, command))
    return found


def held_ports(ports: Collection[int]) -> list[int]:
    """Return those of the ports that somebody listens on."""
    listening = {
        connection.laddr.port
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr
    }
    return sorted(listening & set(ports))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _director(path: Path) -> tuple[list[Row], list[tuple[str, str]], str]:
    damage = complaint(path)
    if damage:
        return [], [], damage
    requests = [(str(row["request_id"]), str(row["experiment"])) for row in rows(path, "requests")]
    return rows(path, "experiments"), requests, ""


def _experiment(directory: Path, row: Row) -> ExperimentEvidence:
    files = ExperimentFiles(directory)
    path = experiment_database(files)
    bare = ExperimentEvidence(
        id=str(row["id"]),
        request_id=str(row["request_id"]),
        status=str(row["status"]),
        reason=str(row["reason"]),
        plan_digest=str(row["plan_digest"]),
        bundle=str(row["bundle"]),
        bundle_found=_digest(files.bundle),
        damage=complaint(path),
    )
    if bare.damage:
        return bare
    epochs = [int(str(snapshot["epoch"])) for snapshot in rows(path, "snapshot")]
    models = files.models() if (directory / "models").is_dir() else {}
    return replace(
        bare,
        events=[_happened(event) for event in rows(path, "events")],
        epoch=max(epochs, default=0),
        versions=[_version(version) for version in rows(path, "versions")],
        models={number: ModelFile(_digest(model), sha256_file(model)) for number, model in models.items()},
    )


def _happened(row: Row) -> Happened:
    told = from_json(str(row["kind"]), str(row["fields"]))
    return Happened(int(str(row["sequence"])), told, int(str(row["epoch"])))


def _version(row: Row) -> Version:
    return Version(
        int(str(row["round"])), str(row["digest"]), str(row["sha256"]), bool(row["best"]), int(str(row["epoch"]))
    )


def _digest(path: Path) -> str:
    with suppress(FederationError):
        return file_digest(path)
    return ""
