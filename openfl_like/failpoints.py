"""Named places beside every durable step, where a test can have the process killed, frozen, slowed down or refused.

They do nothing unless the environment names them: ``OPENFL_LIKE_FAILPOINTS`` holds clauses, or ``@FILE`` with them,
which is read again at every hit, so that a running federation can be armed anew. ``OPENFL_LIKE_FAILPOINTS_LANDED``
names the landing record: a line is appended to it before anything happens, so that a run in which nothing happened
can be told from one that survived.

    POINT=ACTION[:ARGUMENT][@HIT[+]][#TAG]   separated by ``;`` or by lines

    aggregator.publish.synced=kill@2         at the second hit in a process, once
    director.submit.row.before=error:ENOSPC  the first hit raises OSError
    worker.answer.before=delay:500@1+        every hit from the first on

A clause without ``+`` acts once in all processes that share a landing record; a tag makes it another clause.
Layer: beside `registry`; imports nothing but the standard library.
"""

import errno
import fcntl
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

SWITCH = "OPENFL_LIKE_FAILPOINTS"
LANDED = "OPENFL_LIKE_FAILPOINTS_LANDED"
_CLAUSE = re.compile(r"([a-z_.]+)=([a-z-]+)(?::(\w+))?(?:@(\d+)(\+?))?(?:#\w+)?")

_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "director": {
        "opened": "its database is open, it does not listen yet",
        "submit.received": "a bundle is complete in 'incoming', nothing else is known of it",
        "submit.unpacked": "it is unpacked and its plan checked",
        "submit.directory": "the experiment's directory is made",
        "submit.workspace": "the workspace has its place in it",
        "submit.bundle": "the bundle has its place in it",
        "submit.plan": "the frozen plan is written",
        "submit.row.before": "all files are there, the row is not",
        "submit.row.between": "the request is inserted, the experiment is not; neither is committed",
        "submit.row.after": "the row is committed, the submitter does not know",
        "submit.announced": "the history says QUEUED, the submitter does not know",
        "export.written": "a checkpoint is written in 'outgoing', its user has no byte of it",
        "import.received": "a checkpoint is complete in 'incoming', nothing else is known of it",
        "import.unpacked": "its entries are checked and unpacked",
        "import.built": "the experiment's directory is complete and on disk, in another place",
        "import.placed": "it has its place, no row says so",
        "import.recorded": "the row is committed, the mark of an unfinished import is still there",
        "remove.marked": "an experiment is about to be removed: its directory says so, its row is still there",
        "remove.forgotten": "its row is gone, its directory is still there",
        "status.before": "an experiment is about to move on",
        "status.after": "it has moved on",
        "dispatch.gathered": "enough envoys are there",
        "dispatch.certified": "the Aggregator's certificate is issued, not saved",
        "dispatch.saved": "it is saved, no Aggregator runs",
        "dispatch.started": "an Aggregator was given its arguments",
        "dispatch.listening": "it listens",
        "order.sent": "an envoy was sent its order",
        "certificate.sent": "an envoy was sent its Collaborator's certificate",
        "relay.event": "an event of the Aggregator goes to watchers",
        "log.before": "lines of a site are about to be written",
        "log.after": "they are written",
        "roster.joined": "an envoy was written down and welcomed",
        "roster.left": "an envoy's session has ended, its last sight is not written down",
        "cancel.asked": "a user wants an experiment to end",
        "end.before": "an experiment has ended, its row does not say so",
        "end.after": "the row says so, watchers do not know",
        "end.told": "watchers know",
    },
    "aggregator": {
        "opened": "its database is open, the experiment not restored",
        "restored": "the experiment is restored, nobody can connect",
        "listening": "collaborators can connect",
        "joined": "a collaborator's session is open",
        "assignment.sent": "an assignment is in its collaborator's mailbox",
        "update.expected": "an update is announced, its place in the spool is fixed",
        "update.spooled": "all its bytes are in the spool",
        "update.inspected": "its tensors are checked",
        "update.taken": "the loop will count it, its collaborator has no receipt",
        "updates.recorded.before": "all updates of a round are here, the record does not say so",
        "updates.recorded.after": "the record says so",
        "step.before": "a step without a version is about to be recorded",
        "step.after": "it is recorded, not acted on",
        "commit.inside": "snapshot and events are written, the versions not; nothing is committed",
        "validated": "the updates of a round are valid",
        "updates.placed": "they are where the sites can fetch them that score them, nobody knows",
        "aggregate.before": "they are about to be combined",
        "aggregate.after": "the round's model is written, nobody knows",
        "publish.before": "the round's model is about to become final",
        "publish.state": "what rule and server optimizer keep is on disk, the model perhaps not",
        "publish.synced": "its bytes are on disk, its name perhaps not",
        "publish.after": "its name is on disk, too; no row says so",
        "hashed": "the last model's SHA-256 is known, no row says so",
        "version.before": "the round is about to be committed",
        "version.after": "the round is committed, its updates are still there",
        "spool.cleared": "its updates are gone, old models are still there",
        "tidied": "old models are gone",
        "finish.before": "the end is recorded, no collaborator knows",
        "finish.after": "collaborators were told to go",
        "drained": "they have gone",
    },
    "envoy": {
        "hello.sent": "it has said hello, and is not welcome yet",
        "welcomed": "the Director has welcomed it",
        "order.received": "an order is here",
        "record.begun": "the site's record has the order, nothing else of it is here",
        "record.ended": "the site's record has the end, the Collaborator's notes are still there",
        "bundle.before": "the former directory of the experiment is gone",
        "bundle.fetched": "the bundle is here, not verified",
        "bundle.unpacked": "it is verified and unpacked",
        "plan.written": "the frozen plan is written",
        "csr.made": "a key is made, the Director has not heard",
        "certificate.before": "the certificate is here, not saved",
        "certificate.saved": "it is saved, no Collaborator runs",
        "child.started": "the Collaborator was given its arguments",
        "child.ended": "the Collaborator has ended, nobody knows",
        "log.written": "a line of the Collaborator is in the site's log",
    },
    "collaborator": {
        "started": "its directory is made",
        "joined": "it has said that it is ready",
        "assignment.taken": "an assignment is here",
        "files.cleared": "the former files are out of the way",
        "model.received": "the global model is here",
        "task.before": "the worker is about to be asked",
        "task.done": "the update is on disk, the Aggregator does not know",
        "deliver.before": "it is about to be delivered",
        "deliver.receipt": "the receipt is here",
        "dismissed": "the experiment has ended, the worker still runs",
    },
    "worker": {
        "loaded": "shard and code are loaded",
        "model.before": "the global model is about to be read",
        "model.read": "it is read",
        "update.before": "the tasks are performed, nothing is written",
        "algorithm.kept": "what the algorithm keeps is on disk, the update is not",
        "update.written": "the update is written, its manifest is not",
        "answer.before": "the update is complete, the Collaborator does not know",
    },
    "pki": {
        "written": "new credentials are written beside the old ones",
        "replaced": "they have replaced the old ones",
    },
    "tensors": {
        "rename.before": "a model file is complete under its temporary name",
    },
    "store": {
        "migrate.before": "an old database is about to be migrated",
        "migrate.inside": "it is migrated, not committed",
        "migrate.after": "it is migrated",
    },
}
POINTS: Mapping[str, str] = {
    f"{part}.{name}": text for part, names in _MEANINGS.items() for name, text in names.items()
}
"""Every point with its meaning; the first word is the process, or the package that several processes use."""


class FailpointError(OSError):
    """What the actions ``error`` and ``executed-then-error`` raise, and a switch that cannot be understood."""


class Action(StrEnum):
    """What happens at a point.

    Attributes:
        KILL: The process gets SIGKILL.
        FREEZE: It gets SIGSTOP.
        ERROR: The step raises instead of being done; only before a step.
        EXECUTED_THEN_ERROR: The step raises although it was done; only after a step.
        DELAY: The thread sleeps; the argument is in milliseconds.
        SHORT_WRITE: The file that is being written loses its second half, then the process is killed.
    """

    KILL = "kill"
    FREEZE = "freeze"
    ERROR = "error"
    EXECUTED_THEN_ERROR = "executed-then-error"
    DELAY = "delay"
    SHORT_WRITE = "short-write"


@dataclass(frozen=True, slots=True)
class Clause:
    """One armed point.

    Attributes:
        text: As it was written; who acted on it is found by it.
        point: Where.
        action: What happens.
        argument: An errno's name, or milliseconds.
        hit: The first hit in a process that counts, from 1.
        always: Whether every later hit counts, too.
    """

    text: str
    point: str
    action: Action
    argument: str = ""
    hit: int = 1
    always: bool = False


def parse(text: str) -> dict[str, Clause]:
    """Return the clauses of a switch by their points.

    Raises:
        FailpointError: If it names no point or action that there is, or an action that makes no sense at its point.
    """
    clauses = {}
    for part in re.split(r"[;\n]", text):
        if part.strip():
            clause = _parse_clause(part.strip())
            clauses[clause.point] = clause
    return clauses


def _parse_clause(text: str) -> Clause:
    found = _CLAUSE.fullmatch(text)
    if found is None or found[1] not in POINTS or found[2] not in set(Action):
        raise FailpointError(errno.EINVAL, "no failpoint and action of this platform", text)
    point, action, argument = found[1], Action(found[2]), found[3] or ""
    before = point.endswith(".before")
    misplaced = {Action.ERROR: not before, Action.EXECUTED_THEN_ERROR: before}.get(action, False)
    wanted = argument.isdecimal() if action is Action.DELAY else not argument or hasattr(errno, argument)
    if misplaced or not wanted:
        raise FailpointError(errno.EINVAL, "the action has no meaning here, or not with this argument", text)
    return Clause(text, point, action, argument, int(found[4] or 1), bool(found[5]))


class Armed:
    """The armed points of this process.

    Args:
        switch: Clauses, or ``@FILE``.
        record: The landing record; None: nothing is recorded, and a clause acts once in every process.
    """

    def __init__(self, switch: str, record: Path | None) -> None:
        self._file = Path(switch[1:]) if switch.startswith("@") else None
        self._record = record
        self._text = ""
        self._clauses: dict[str, Clause] = {}
        self._hits: Counter[str] = Counter()
        if self._file is None:
            self._clauses = parse(switch)

    def hit(self, point: str, path: Path | None) -> None:
        """Act if the point is armed and this is the hit that counts."""
        clause = self._clause(point)
        if clause is None:
            return
        self._hits[clause.text] += 1
        count = self._hits[clause.text]
        counts = count >= clause.hit if clause.always else count == clause.hit
        if counts and (clause.action is not Action.SHORT_WRITE or path is not None) and self._land(clause, count):
            _act(clause, path)

    def _clause(self, point: str) -> Clause | None:
        if self._file is not None:
            try:
                text = self._file.read_text(encoding="utf-8")
            except OSError:
                text = ""
            if text != self._text:
                self._text, self._clauses = text, parse(text)
        return self._clauses.get(point)

    def _land(self, clause: Clause, count: int) -> bool:
        """Write into the record what is about to happen; False if another process was first."""
        if self._record is None:
            return True
        descriptor = os.open(self._record, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            landed = {str(json.loads(line)["clause"]) for line in file if line.endswith("\n")}
            if clause.text in landed and not clause.always:
                return False
            fields = {"clause": clause.text, "point": clause.point, "hit": count, "pid": os.getpid()}
            file.write(json.dumps(fields | {"process": sys.argv[:3], "time": time.time()}) + "\n")
        return True


def _act(clause: Clause, path: Path | None) -> None:
    match clause.action:
        case Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Action.FREEZE:
            os.kill(os.getpid(), signal.SIGSTOP)
        case Action.DELAY:
            time.sleep(int(clause.argument) / 1000)
        case Action.SHORT_WRITE if path is not None:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            number = getattr(errno, clause.argument or "EIO")
            raise FailpointError(number, os.strerror(number), f"failpoint {clause.point}")


def _from_environment() -> Armed | None:
    switch = os.environ.get(SWITCH, "")
    record = os.environ.get(LANDED)
    return Armed(switch, Path(record) if record else None) if switch else None


_armed = _from_environment()


def failpoint(name: str, path: Path | None = None) -> None:
    """Mark a place; costs one comparison unless the process was started with the switch.

    Args:
        name: A key of `POINTS`.
        path: The file that is being written here and is not yet durable; ``short-write`` cuts it.
    """
    if _armed is not None:
        _armed.hit(name, path)
