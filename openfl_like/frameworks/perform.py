"""Performing an assignment: the one entry that every runtime calls, in a worker process or in a simulation."""

import difflib
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from blake3 import blake3

from openfl_like import registry
from openfl_like.errors import TaskError
from openfl_like.failpoints import failpoint
from openfl_like.federation.components import build_encoding
from openfl_like.federation.devices.placement import CPU
from openfl_like.federation.failure import FailedTaskError, Failure, FailureKind, one_line
from openfl_like.federation.seeds import compression_seed
from openfl_like.federation.task import Assignment, Phase, TaskCall, Update
from openfl_like.frameworks.algorithms.base import NO_HOOKS, is_algorithms
from openfl_like.frameworks.algorithms.local_optimizer import LocalOptimizer
from openfl_like.frameworks.algorithms.personal import PersonalTensors
from openfl_like.frameworks.algorithms.session import Opening, build_session
from openfl_like.frameworks.algorithms.state import SiteState
from openfl_like.frameworks.metrics.base import ChosenMetrics, TaskMetrics, build_metrics
from openfl_like.frameworks.reported import read_metrics, read_samples
from openfl_like.frameworks.runner import (
    DataLoader,
    RunnerContext,
    Shard,
    StatelessRunner,
    TaskResult,
    TaskRunner,
    data_form,
    without_optimizer,
)
from openfl_like.frameworks.tasks.allowance import Allowance
from openfl_like.frameworks.tasks.blame import Blame, FailedBatch
from openfl_like.frameworks.tasks.given_model import (
    GivenModel,
    GlobalModel,
    PersonalModel,
    is_given,
    opened,
    shared_of,
    with_own,
)
from openfl_like.frameworks.tasks.parts import check_members, parameters_of
from openfl_like.frameworks.tasks.progress import Progress
from openfl_like.frameworks.training import Training
from openfl_like.module_scope import ModuleScope
from openfl_like.plan.mistakes import check_keywords
from openfl_like.plan.schema import FILE, PERSONAL, Plan
from openfl_like.plan.section import Component
from openfl_like.tensors.container import TensorFile, write_tensors
from openfl_like.tensors.encoded import ErrorFeedback, Sent, write_encoded
from openfl_like.tensors.manifest import keep_manifest, manifest_of, recyclable_path
from openfl_like.tensors.memory import TensorMemory
from openfl_like.tensors.named import bytes_of

_NO_TASKS = frozenset({"initialise", "begin", "get_tensors", "set_tensors"})
_LONGEST_REASON = 500


@dataclass(slots=True)
class UpdateInMemory:
    """Where an update goes that is no file.

    Attributes:
        content: The update, when the tasks are done; None if there is none.
    """

    content: TensorMemory | None = None


@dataclass(slots=True)
class _Tasks:
    """What an assignment has come to so far."""

    assignment: Assignment
    sent: Sent | None = None  # how the update is encoded
    digest: str = ""  # of the update file
    num_samples: int = 0
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    trained: bool = False  # the update's weight is that of a training task
    partial: bool = False  # its time was over before it had trained all
    held: GivenModel | None = None  # what the runner's model is; None: it has changed
    unsaved: bool = False  # the runner's model is newer than the update file


class Performer:
    """Model and data of one experiment at one site; they are loaded once and stay warm between assignments.

    Several performers may live in one process, each with its own workspace; they work one at a time, because random
    generators and imports belong to the process. What compression left out of the updates so far is kept, too.

    Args:
        plan: The plan of the experiment.
        shard: The site's data.
        workspace: Directory with the submitted code.
        device: Where the task runner works, see `RunnerContext`: what the plan wishes was settled before.
        state: Folder for what the algorithm keeps at this site; None: it is kept in memory.
        clock: Seconds that never go back; the plan's ``deadline.train_s`` goes by them.

    Attributes:
        progress: Tells how far a task is, to whom its ``tell`` is.

    Raises:
        TaskError: If the plan's data loader, task runner, algorithm or compression cannot be found or built.
    """

    def __init__(
        self,
        plan: Plan,
        shard: Shard,
        workspace: Path,
        device: str = CPU,
        state: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._loader_factory: Callable[[Shard], DataLoader[object]] | None = None
        self._parameters: dict[str, frozenset[str]] = {}
        self._fitting: set[tuple[str, tuple[str, ...]]] = set()
        self._rounds = plan.aggregator.settings.rounds
        self._state = SiteState(state)
        self._personal = PersonalTensors(plan.aggregation.rules)
        self._optimizer = LocalOptimizer(active=plan.collaborator.settings.opt_treatment == "CONTINUE_LOCAL")
        self._allowance = Allowance(clock)
        self._task_metrics = TaskMetrics()
        self.progress = Progress()
        self._code = ModuleScope(workspace)
        self._blame = Blame(self._code.directory, lambda: _failed_batch(getattr(self, "_runner", None)))
        with self._code.active(), self._blame(f"the algorithm '{plan.algorithm.template}'"):
            self._session = build_session(plan.algorithm)
        settings = plan.collaborator.settings
        self._form = data_form(shard)
        context = RunnerContext(
            device=device,
            threads=settings.threads,
            opt_treatment=settings.opt_treatment,
            sample_shape=self._form.sample_shape,
            target_shape=self._form.target_shape,
            classes=self._form.classes,
            hooks=self._session or NO_HOOKS,
            allowance=self._allowance,
            metrics=self._task_metrics,
            progress=self.progress,
        )
        with self._code.active():
            self._loader = self._build_loader(plan.data_loader, shard)
            self._runner = self._build_runner(plan.task_runner, context)
            self._metrics = self._build_metrics(plan)
            self._stateless = self._is_stateless()
            with self._blame(f"the compression '{plan.compression_pipeline.template}'"):
                self._encoding = build_encoding(plan)
        self._seed = plan.seed
        self._feedback = ErrorFeedback()

    def for_site(self, shard: Shard, state: Path | None = None) -> "Performer | None":
        """Return the performer of another site, with the same runner and the same modules of the workspace.

        Args:
            shard: The other site's data.
            state: Folder for what the algorithm keeps at that site; None: it is kept in memory.

        Returns:
            The performer; None if the runner does not say that it is `runner.StatelessRunner`, keeps the state of its
            optimizer, or was made for data of another form.

        Raises:
            TaskError: If the plan's data loader cannot be built.
        """
        if not self._stateless or data_form(shard) != self._form:
            return None
        other = copy(self)
        other._move_to(shard, state)  # noqa: SLF001 - it is of this class
        return other

    def _move_to(self, shard: Shard, state: Path | None) -> None:
        with self._code.active():
            self._loader = self._build_loader(self._plan.data_loader, shard)
        self._state, self._feedback = SiteState(state), ErrorFeedback()

    def _is_stateless(self) -> bool:
        return (
            not self._optimizer.active
            and getattr(self._runner, "stateless", False) is True
            and hasattr(self._runner, "loader")
        )

    def _build_loader(self, part: Component, shard: Shard) -> DataLoader[object]:
        with self._blame(f"the data loader '{part.template}'"):
            if self._loader_factory is None:
                factory = cast("Callable[..., DataLoader[object]]", registry.resolve("data_loader", part.template))
                check_keywords(factory, part.settings, "setting", positional=1)
                self._loader_factory = partial(factory, **part.settings)
            loader = self._loader_factory(shard)
        check_members(loader, DataLoader, f"the data loader '{part.template}'")
        return loader

    def _build_runner(self, part: Component, context: RunnerContext) -> TaskRunner:
        with self._blame(f"the task runner '{part.template}'"):
            factory = cast("Callable[..., TaskRunner]", registry.resolve("task_runner", part.template))
            check_keywords(factory, part.settings, "setting", positional=2)
            runner = factory(self._loader, context, **part.settings)
        check_members(runner, TaskRunner, f"the task runner '{part.template}'")
        return runner

    def _build_metrics(self, plan: Plan) -> dict[str, ChosenMetrics]:
        with self._blame("building the metrics"):
            return build_metrics(plan)

    def importable(self) -> AbstractContextManager[None]:
        """Return a context in which the modules of the workspace can be imported."""
        return self._code.active()

    @contextmanager
    def runner(self) -> Iterator[TaskRunner]:
        """Yield the task runner with its model, and the workspace's code importable; for what is no assignment.

        Raises:
            TaskError: If the model cannot be built.
        """
        with self._code.active():
            with self._blame("building the model"):
                self._runner.get_tensors()
            yield self._runner

    def perform(self, assignment: Assignment, model: GlobalModel | None, out: Path | UpdateInMemory) -> Update:
        """Perform the tasks of an assignment, in order.

        Args:
            assignment: What to do.
            model: The model to start from; None in the phase ``initialise``.
            out: Where the update goes: the place of its file, or memory, unless it is encoded; nothing does in the
                phase ``evaluate``.

        Raises:
            TaskError: If code of the workspace raises or returns something unusable; the message names the task, the
                exception and the line.
            TensorError: If the model file is malformed.
        """
        start, process = time.perf_counter(), os.getpid()
        self._blame.task = ""
        self._allowance.begin(assignment)
        self.progress.begin(assignment)
        try:
            work = self._work(assignment, model, out)
        except FailedTaskError:
            raise
        except TaskError as error:
            failure = Failure(FailureKind.TASK, one_line(error), task=self._blame.task)
            raise FailedTaskError(error.message, failure, cure=error.cure) from error
        finally:
            if os.getpid() != process:
                os._exit(1)  # a child that a task forked and let go on: one process answers, its parent
        return Update(
            round=assignment.round,
            phase=assignment.phase,
            collaborator=assignment.collaborator,
            digest=work.digest if assignment.phase.returns_model else "",
            num_samples=work.num_samples,
            metrics=work.metrics,
            duration_s=time.perf_counter() - start,
            partial=work.partial,
            batches=self._allowance.batches_done,
        )

    def _work(self, assignment: Assignment, model: GlobalModel | None, out: Path | UpdateInMemory) -> _Tasks:
        with self._code.active():
            if self._stateless:
                cast("StatelessRunner", self._runner).loader = self._loader
            random.seed(assignment.seed)
            np.random.seed(assignment.seed % 2**32)
            if assignment.phase is Phase.INITIALISE:
                return self._initialise(assignment, out)
            return self._run(assignment, is_given(model), out)

    def _initialise(self, assignment: Assignment, out: Path | UpdateInMemory) -> _Tasks:
        with self._blame("initialise"):
            self._runner.initialise(assignment.seed)
            self._personal.look_at(self._runner.get_tensors())
            digest = self._save(out, None, self._first_shared())
            samples = read_samples("initialise", self._loader.num_train)
            return _Tasks(assignment, num_samples=samples, digest=digest)

    def _first_shared(self) -> dict[str, np.ndarray]:
        if self._session is None:
            return {}
        own = without_optimizer(self._runner.get_tensors())
        return self._session.initial({name: array for name, array in own.items() if name not in self._personal.names})

    def _run(self, assignment: Assignment, model: GlobalModel, out: Path | UpdateInMemory) -> _Tasks:
        self._begin(assignment, model)
        self._load(model)
        failpoint("worker.model.read")
        work = _Tasks(assignment, self._sent(assignment, model), held=model)
        personal = self._personal_model(assignment, model)
        for call in assignment.tasks:
            self._blame.task = call.name
            wanted = personal if call.apply == PERSONAL else self._wanted(call, work, model)
            if wanted is not None and wanted != work.held:
                self._keep(work, out)
                self._load(wanted, own=wanted is model or wanted is personal)
                work.held = wanted
            if call.trains:
                self._allowance.begin_task()
                result = self._call(call, assignment.round)
                self._allowance.check_kept(call.name)
                self._take(work, call, result)
                work.partial = work.partial or result.partial
                work.trained = work.unsaved = True
                work.held = None
            else:
                with self._unchanged(call):
                    self._take(work, call, self._call(call, assignment.round))
        if assignment.phase is Phase.TRAIN:
            if not work.trained:
                raise TaskError("no task of the training phase trains", cure="add a task that does to the plan")
            self._keep(work, out)
        self._blame.task = ""
        return work

    def _begin(self, assignment: Assignment, model: GlobalModel) -> None:
        """Have all that keeps something at the site go on from what is kept."""
        with self._blame("begin"):
            self._runner.begin(assignment.seed)
            if self._optimizer.active:
                self._optimizer.look_at(self._runner.get_tensors())
        kept = self._kept(assignment)
        with opened(model) as file:
            self._personal.open(file, kept)
        self._optimizer.open(kept)
        if self._session is not None and assignment.phase is Phase.TRAIN:
            state, names = self._optimizer.without(self._personal.without(kept)), self._personal.names
            self._session.open(Opening(assignment.round, self._rounds, shared_of(model), state, names))

    def _kept(self, assignment: Assignment) -> dict[str, np.ndarray]:
        """Read what was kept at the site in the round that this assignment goes on from."""
        if assignment.phase is Phase.TRAIN and self._keeps:
            return self._state.read(assignment.continues)
        return self._state.look(assignment.continues) if self._personal.active else {}

    @property
    def _keeps(self) -> bool:
        """Whether something stays at the site from round to round."""
        return self._session is not None or self._personal.active or self._optimizer.active

    def _personal_model(self, assignment: Assignment, model: GlobalModel) -> PersonalModel | None:
        """The model that the algorithm keeps at this site; None: no task asks for it."""
        if all(call.apply != PERSONAL for call in assignment.tasks):
            return None
        if self._session is None:
            raise TaskError("a task looks at the site's own model, and the plan has no algorithm that keeps one")
        kept = self._optimizer.without(self._personal.without(self._state.look(assignment.continues)))
        with self._blame("the site's own model"):
            return PersonalModel(model, self._session.personal(kept))

    def _wanted(self, call: TaskCall, work: _Tasks, model: GlobalModel) -> GlobalModel | None:
        """The model that a task works on; None: the runner's own, which has changed."""
        if call.trains:
            if work.trained and work.held is not None:
                raise TaskError(f"task '{call.name}' trains after an evaluation of another model in the same phase")
            return None if work.held is None else model
        if call.apply.startswith(FILE):
            name = call.apply.removeprefix(FILE)
            path = self._code.directory / name
            if not path.is_file() or not path.resolve().is_relative_to(self._code.directory):
                raise TaskError(f"task '{call.name}': the workspace has no model '{name}'")
            return path
        return None if call.apply == "local" and work.held is None else model

    @contextmanager
    def _unchanged(self, call: TaskCall) -> Iterator[None]:
        """Refuse a task that does not train and still changes the model."""
        before = self._digests()
        yield
        after = self._digests()
        changed = sorted(name for name in before if after.get(name) != before[name])
        if changed:
            raise TaskError(
                f"task '{call.name}' does not train, but it changed the model: '{changed[0]}'",
                cure="write trains: true in its entry of the plan, or have the function leave the model as it is",
            )

    def _digests(self) -> dict[str, bytes]:
        with self._blame("reading the model"):
            tensors = self._runner.get_tensors()
        return {name: blake3(bytes_of(array)).digest() for name, array in tensors.items()}

    def _call(self, call: TaskCall, number: int) -> TaskResult:
        function = None if call.function.startswith("_") else getattr(self._runner, call.function, None)
        if not callable(function) or call.function in _NO_TASKS:
            near = difflib.get_close_matches(call.function, {*dir(self._runner)} - _NO_TASKS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "name a method of the task runner"
            raise TaskError(f"task '{call.name}': the task runner has no function '{call.function}'", cure=hint)
        with self._blame(f"task '{call.name}'"):
            known: dict[str, object] = {"round": number, "rounds": self._rounds}
            if call.function not in self._parameters:
                self._parameters[call.function] = parameters_of(function)
            asked = {name: known[name] for name in known.keys() & self._parameters[call.function]}
            self._check_arguments(function, call)
            self._task_metrics.begin_task(self._metrics.get(call.name))
            self.progress.begin_task(call.name)
            result = function(**{**asked, **call.arguments})
        if not isinstance(result, TaskResult):
            raise TaskError(f"task '{call.name}' returned {type(result).__name__}, not a TaskResult")
        return result

    def _check_arguments(self, function: Callable[..., object], call: TaskCall) -> None:
        """Refuse arguments that a task function does not take; it is looked at once, not in every round."""
        wanted = call.function, tuple(call.arguments)
        if wanted not in self._fitting:
            check_keywords(function, call.arguments, "argument")
            self._fitting.add(wanted)

    def _take(self, work: _Tasks, call: TaskCall, result: TaskResult) -> None:
        with self._blame(f"task '{call.name}'"):
            metrics = dict(result.metrics)
        work.metrics[call.name] = read_metrics(call.name, metrics)
        self._task_metrics.check_reported(call.name, work.metrics[call.name])
        samples = read_samples(call.name, result.num_samples)
        if call.trains or not work.trained:
            work.num_samples = samples

    def _load(self, given: GivenModel, *, own: bool = True) -> None:
        model, weights = (given.model, given.weights) if isinstance(given, PersonalModel) else (given, {})
        with opened(model) as file, self._blame("loading the model"):
            tensors = {name: file.tensor(name) for name in file.names if not is_algorithms(name)}
            tensors = self._optimizer.in_place(self._personal.in_place(tensors) if own else tensors)
            self._runner.set_tensors(with_own(tensors, weights) if weights else tensors)

    def _keep(self, work: _Tasks, out: Path | UpdateInMemory) -> None:
        if work.unsaved:
            shared = self._end(work.assignment.round)
            with self._blame("saving the model"):
                work.digest = self._save(out, work.sent, shared)
            work.unsaved = False

    def _end(self, number: int) -> dict[str, np.ndarray]:
        """Keep what stays at the site; return what the update has beside or instead of the model's tensors."""
        if not self._keeps:
            return {}
        with self._blame("the end of the algorithm"):
            shared, state = self._session.close() if self._session is not None else ({}, {})
        tensors = self._runner.get_tensors()
        self._state.write(number, {**state, **self._personal.kept(tensors), **self._optimizer.kept(tensors)})
        failpoint("worker.algorithm.kept")
        return {**shared, **self._personal.sent}

    def _sent(self, assignment: Assignment, model: GlobalModel) -> Sent | None:
        if self._encoding is None:
            return None
        base = model.path if isinstance(model, TensorFile) else model
        return Sent(self._encoding, compression_seed(self._seed, assignment.round, assignment.collaborator), base)

    def _save(self, out: Path | UpdateInMemory, sent: Sent | None, shared: Mapping[str, np.ndarray]) -> str:
        """Write the update, and its manifest beside it, so that nobody reads the file for that; return its digest."""
        # No fsync: an update lost in a crash is trained again.
        failpoint("worker.update.before")
        tensors = {**self._optimizer.without(self._runner.get_tensors()), **shared}
        if isinstance(out, UpdateInMemory):
            if sent is not None:
                raise TypeError("an encoded update goes into a file")
            out.content = TensorMemory.of(tensors)
            return out.content.digest
        recyclable = recyclable_path(out)
        if sent is None:
            manifest = write_tensors(out, tensors, sync=False, recyclable=recyclable)
        else:
            carried = self._feedback.carried(sent.seed)
            self._feedback.keep(write_encoded(out, tensors, sent, carried, recyclable=recyclable))
            manifest = manifest_of(out)
        failpoint("worker.update.written")
        if len(manifest.chunks) > 1:
            keep_manifest(out, manifest)
        return manifest.digest


def _failed_batch(runner: TaskRunner | None) -> FailedBatch | None:
    """The batch that the platform's own training loop was at when it raised; there is no runner while it is built."""
    training = getattr(runner, "training", None)
    return training.failed if isinstance(training, Training) else None
