"""The worker: the only process that runs submitted code. It has no key, no network, and confines itself.

Its parent writes one JSON line per order to a pipe and reads one JSON line per answer from another; models and updates
are files. The two pipes come as stdin and stdout, and are moved to descriptors of their own before anything submitted
runs, which its child processes do not inherit: whoever reads standard input finds it empty, and what is printed goes
to stderr, which is the log.

    {"shard": "shard.yaml", "plan": "plan.json", "workspace": "…", "device": "cpu", "state": "…", "models": "…",
     "updates": "…", "python": "…", "sandbox": "best"}                      -> {"ready": {…}, "confinement": {…}}
    {"assignment": {…}, "model": "global.safetensors", "out": "update…"}    -> {"update": {…}}
    {"shard": "shard.yaml", "unread": true, "modules": "…"}                 -> {"ready": {…}, "confinement": {…}}
    before the last one come, now and then,         {"progress": {…}}
    either may be answered by                       {"error": {"code": "E503", "reason": "…", "failure": {…}}}

A simulation without walls has `site_worker` instead.
"""

import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from openfl_like.errors import FederationError, TaskError, no_room
from openfl_like.failpoints import failpoint
from openfl_like.federation.failure import FailedShardError, failure_of, fields_of_failure
from openfl_like.federation.parties import ShardFacts
from openfl_like.federation.task import Assignment, Phase, TaskCall, Work
from openfl_like.processes.ownership import MARK
from openfl_like.processes.parent_death import die_with_parent
from openfl_like.processes.worker_walls import ORDER, WorkerWalls

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from openfl_like.frameworks.perform import Performer

SPARE = "--spare"
"""First argument of a worker that waits for its experiment; the others are what it imports ahead."""


def fields_of(value: "DataclassInstance") -> dict[str, object]:
    """Return the fields of a dataclass by their names; unlike `dataclasses.asdict` it copies no value."""
    return {each.name: getattr(value, each.name) for each in fields(value)}


def assignment_to_json(assignment: Assignment) -> dict[str, object]:
    """Return an assignment as JSON values."""
    work = None if assignment.work is None else fields_of(assignment.work)
    return fields_of(assignment) | {"tasks": [fields_of(task) for task in assignment.tasks], "work": work}


def assignment_from_json(value: Mapping[str, Any]) -> Assignment:
    """Return the assignment of JSON values."""
    tasks = tuple(TaskCall(**task) for task in value["tasks"])
    work = None if value.get("work") is None else Work(**value["work"])
    return Assignment(**{**value, "phase": Phase(value["phase"]), "tasks": tasks, "work": work})


class Worker:
    """Answers the orders of one parent.

    Args:
        walls: Confines this process before anything is loaded; None: it stays as it is.
        tell: Is given, before an answer, how far the task is; None: nobody wants to know.
    """

    def __init__(
        self, walls: WorkerWalls | None = None, tell: Callable[[Mapping[str, object]], None] | None = None
    ) -> None:
        self._walls, self._tell = walls, tell
        self._performer: Performer | None = None

    def answer(self, order: Mapping[str, Any]) -> dict[str, object]:
        """Carry out one order; errors of the submitted code or the shard become an answer, too."""
        try:
            return self._load(order) if "shard" in order else self._perform(order)
        except (FederationError, OSError) as error:
            return {"error": explain(error, "loading the workspace" if "shard" in order else "")}

    def _load(self, order: Mapping[str, Any]) -> dict[str, object]:
        from openfl_like.data.shard_file import load_shard_config

        if "directory" in order:
            _move(order["directory"], order["owner"])
        path = Path(order["shard"])
        config = load_shard_config(path, order.get("home", ""))
        told = {} if self._walls is None else {"confinement": asdict(self._walls.raise_for(order, config))}

        from openfl_like.data.shard import build_shard

        shard = build_shard(config, Path(order.get("modules") or path.parent), unread="unread" in order)
        if "plan" in order:
            from openfl_like.frameworks.perform import Performer
            from openfl_like.plan.digest import thaw

            plan, workspace = thaw(Path(order["plan"]).read_bytes()), Path(order["workspace"])
            self._performer = Performer(plan, shard, workspace, order["device"], Path(order["state"]))
            if (tell := self._tell) is not None:
                self._performer.progress.tell = lambda told: tell({"progress": fields_of(told)})
        failpoint("worker.loaded")
        gc.freeze()  # model, data and what was imported stay: the collector need not look through them again and again
        facts = ShardFacts(shard.sample_shape, shard.target_shape, shard.dataset_description, asdict(shard.schema))
        return {"ready": asdict(facts), **told}

    def _perform(self, order: Mapping[str, Any]) -> dict[str, object]:
        assignment = assignment_from_json(order["assignment"])
        if self._performer is None:
            raise TaskError("the worker was asked to work before it was given a plan")
        failpoint("worker.model.before")
        model = Path(order["model"]) if order["model"] else None
        return {"update": fields_of(self._performer.perform(assignment, model, Path(order["out"])))}


def explain(error: FederationError | OSError, step: str) -> dict[str, object]:
    """Return an error as JSON values; raises an `OSError` that is no lack of room.

    Args:
        error: What went wrong.
        step: At what, where it was at no task.
    """
    full = no_room(error)
    if full is not None:
        return {"code": full.code, "reason": str(full)}
    if isinstance(error, TaskError):
        failure = failure_of(error)
        if not (failure.task or failure.step):
            failure = replace(failure, step=step)
        return {"code": error.code, "reason": error.message, "failure": fields_of_failure(failure)}
    if isinstance(error, OSError):
        raise error
    told = {"failure": fields_of_failure(error.failure)} if isinstance(error, FailedShardError) else {}
    return {"code": error.code, "reason": str(error), **told}


def serve(
    orders: Iterable[str | bytes], answers: BinaryIO, answer: Callable[[Mapping[str, Any]], dict[str, object]]
) -> None:
    """Answer orders until the parent closes its end."""
    for line in orders:
        answers.write(_line(answer(json.loads(line))))
        failpoint("worker.answer.before")
        answers.flush()


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _move(directory: str, owner: str) -> None:
    """Go to the experiment's directory, as if it had been started there; what it starts belongs there, too."""
    os.chdir(directory)
    os.environ[MARK] = owner


def own_channel() -> tuple[BinaryIO, BinaryIO]:
    """Return what orders come from and answers go to; from now on stdin is empty, and stdout is stderr."""
    orders, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(orders, "rb"), os.fdopen(answers, "wb")


def start_as_child() -> None:
    """Have this process end with its parent, leave interrupts to that, and leave no core behind."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(frameworks: Sequence[str] | None, first: Sequence[str]) -> None:
    """Run the worker.

    Args:
        frameworks: What is imported before the first order; None: nothing is, not even what every worker needs.
        first: Orders that do not come from the pipe, because a former program of this process has read them.
    """
    start_as_child()
    orders, answers = own_channel()
    if frameworks is not None:
        from openfl_like.frameworks.warm_up import warm_up

        warm_up(frameworks)
    walls = WorkerWalls(orders.fileno(), answers.fileno())

    def tell(value: Mapping[str, object]) -> None:
        answers.write(_line(value))
        answers.flush()

    serve(chain(first, orders), answers, Worker(walls, tell).answer)


if __name__ == "__main__":
    main(sys.argv[2:] if SPARE in sys.argv[1:2] else None, sys.argv[2:3] if ORDER in sys.argv[1:2] else ())
