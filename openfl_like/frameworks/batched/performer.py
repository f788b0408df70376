"""Performing the assignments of many sites at once, and saying of which ones that is not possible."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NoReturn, TypeAlias, cast

from openfl_like import registry
from openfl_like.errors import FederationError
from openfl_like.federation.components import build_encoding
from openfl_like.federation.failure import one_line
from openfl_like.federation.task import Assignment, Phase, TaskCall, Update
from openfl_like.frameworks.algorithms.base import LocalAlgorithm, is_algorithms
from openfl_like.frameworks.algorithms.fedprox import FedProx
from openfl_like.frameworks.batched.form import BatchForm, BatchMember, BatchResults, BatchWork, SiteBatches, form_of
from openfl_like.frameworks.batched.loaders import UnseenLoader, site_loader
from openfl_like.frameworks.batched.obstacles import (
    BatchTooLargeError,
    CannotBatchError,
    NotBatched,
    Obstacle,
    UnfitMembersError,
)
from openfl_like.frameworks.batched.trial import TOLERANCE, SiteUpdate, distance
from openfl_like.frameworks.metrics.base import ChosenMetrics, build_metrics
from openfl_like.frameworks.perform import Performer, UpdateInMemory
from openfl_like.frameworks.runner import RunnerContext, Shard, TaskRunner
from openfl_like.module_scope import ModuleScope
from openfl_like.plan.schema import NO_ALGORITHM, Plan
from openfl_like.tensors.container import TensorFile
from openfl_like.tensors.memory_rows import TensorRow, tensor_rows

BATCH_BYTES, MOST_SITES = 1 << 28, 1024
"""So much memory, and so many sites, a batch takes at most."""
MOST_KEPT = 4096
"""Of so many sites the data is kept; as many of those that worked last as there is room for."""
_LONGEST_DETAIL = 300
_OF_EVERY_SITE = frozenset(Obstacle) - {Obstacle.RAISED, Obstacle.DIFFERS}
"""What does not depend on what the data of a site is like: its data is not even loaded then."""

_Kind: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], int]
_Tasks: TypeAlias = tuple[TaskCall, ...]


@dataclass(slots=True)
class BatchOutcome:
    """What came of a batch.

    Attributes:
        updates: Of the sites that were trained at once.
        alone: What each site has to do alone.
        reasons: Why, where it is more than something of one site's own.
        rest: What is still to be done.
    """

    updates: list[SiteUpdate] = field(default_factory=list)
    alone: list[Assignment] = field(default_factory=list)
    reasons: list[NotBatched] = field(default_factory=list)
    rest: list[Assignment] = field(default_factory=list)


@dataclass(slots=True)
class _Work:
    """Tasks of a phase, as sites of a kind do them.

    Attributes:
        phase: The phase.
        tasks: The tasks.
        form: What does them for many sites; None: nothing can.
        tried: Whether that gave what sites give alone.
        reason: Why nothing can.
    """

    phase: Phase
    tasks: _Tasks
    form: BatchForm | None = None
    tried: bool = False
    reason: Obstacle | None = None

    def is_of(self, assignment: Assignment) -> bool:
        """Whether this is what a site is asked to do."""
        return self.phase is assignment.phase and (self.tasks is assignment.tasks or self.tasks == assignment.tasks)


@dataclass(slots=True)
class _Site:
    """A site that can be a member of batches.

    Attributes:
        kind: What its data is like; sites of different kinds do not go together.
        batches: Its data.
        sizes: How much memory it takes, by the name of a phase.
    """

    kind: _Kind
    batches: SiteBatches
    sizes: dict[tuple[Phase, int], int] = field(default_factory=dict)


class BatchPerformer:
    """Data of all sites of one experiment, and a model for all of them.

    The first batch of a kind of work is tried: two of its sites do the same alone, and where that gives anything else
    (see `trial.TOLERANCE`) nothing of this kind is batched.

    Args:
        plan: The plan of the experiment.
        shards: Site name -> its data.
        workspace: Directory with the submitted code.
        device: Where the model is, see `runner.RunnerContext`.
        most_bytes: How much memory a batch takes, as far as it can be told beforehand.
        most_kept: Of how many sites the data is kept.
    """

    def __init__(
        self,
        plan: Plan,
        shards: Mapping[str, Shard],
        workspace: Path,
        device: str,
        *,
        most_bytes: int = BATCH_BYTES,
        most_kept: int = MOST_KEPT,
    ) -> None:
        self._plan, self._shards, self._workspace, self._device = plan, shards, workspace, device
        self._code = ModuleScope(workspace)
        self._forms: dict[_Kind, BatchForm] = {}
        self._sites: dict[str, _Site] = {}
        self._works: list[tuple[_Kind, _Work]] = []
        self._most, self._most_bytes = MOST_SITES, most_bytes
        self._most_kept, self._kept_bytes = most_kept, 0
        self._algorithm: LocalAlgorithm | None = None

    def obstacle(self) -> NotBatched | None:
        """Say why nothing of the plan can be batched; None if some of it may be. Code of the workspace is loaded."""
        try:
            self._check_plan()
            with self._code.active():
                self._form(_kind(next(iter(self._shards.values()))))
        except CannotBatchError as error:
            return error.reason
        except Exception as error:  # noqa: BLE001 (code of the workspace; alone, a site says what is wrong with it)
            return NotBatched(Obstacle.RAISED, _words(error))
        return None

    def _check_plan(self) -> None:
        plan = self._plan
        treatment = plan.collaborator.settings.opt_treatment
        if treatment != "RESET":
            _refuse(Obstacle.OPT_TREATMENT, f"opt_treatment is {treatment}, so the optimizer of each site is its own")
        if build_encoding(plan) is not None:
            _refuse(Obstacle.COMPRESSION, "the plan compresses updates (compression_pipeline)")
        if any(rule.stays for rule in plan.aggregation.rules):
            _refuse(Obstacle.PERSONAL, "the plan leaves tensors at their sites (aggregation.rules)")
        if plan.algorithm.template != NO_ALGORITHM:
            with self._code.active():
                factory = registry.resolve("algorithm", plan.algorithm.template)
            if factory is not FedProx:
                _refuse(Obstacle.ALGORITHM, f"the algorithm '{plan.algorithm.template}' is made for one site at a time")
            self._algorithm = cast("Callable[..., LocalAlgorithm]", factory)(**plan.algorithm.settings)

    def _form(self, kind: _Kind) -> BatchForm:
        """Return what trains sites of a kind; raises CannotBatchError."""
        if kind not in self._forms:
            loader = UnseenLoader()
            try:
                self._forms[kind] = _Watched(self._make_form(kind, loader), loader)
            except CannotBatchError:
                raise
            except Exception as error:
                _check_unseen(loader)
                raise CannotBatchError(NotBatched(Obstacle.RAISED, _words(error))) from error
        return self._forms[kind]

    def _make_form(self, kind: _Kind, loader: UnseenLoader) -> BatchForm:
        part, settings = self._plan.task_runner, self._plan.collaborator.settings
        factory = cast("Callable[..., TaskRunner]", registry.resolve("task_runner", part.template))
        sample_shape, target_shape, classes = kind
        context = RunnerContext(
            device=self._device,
            threads=settings.threads,
            opt_treatment=settings.opt_treatment,
            sample_shape=sample_shape,
            target_shape=target_shape,
            classes=classes,
        )
        if isinstance(factory, type) and not hasattr(factory, "batch_form"):
            _refuse(Obstacle.FRAMEWORK, f"{factory.__name__} is no TorchRunner, and only PyTorch's models are batched")
        form = form_of(factory(loader, context, **part.settings))
        if form is None:
            _refuse(
                Obstacle.FRAMEWORK, f"'{part.template}' makes no TorchRunner, and only PyTorch's models are batched"
            )
        return form

    def has_data_of(self, assignments: Iterable[Assignment]) -> bool:
        """Whether the data of all these sites is loaded."""
        return all(assignment.collaborator in self._sites for assignment in assignments)

    def perform(self, assignments: Sequence[Assignment], model: TensorFile) -> BatchOutcome:
        """Perform as many assignments as are a batch.

        Args:
            assignments: Of one phase of one round, which differ in nothing but site, seed and what sites keep.
            model: The model to start from.
        """
        outcome = BatchOutcome()
        first = assignments[0]
        if any(work.is_of(first) and work.reason in _OF_EVERY_SITE for _, work in self._works):
            outcome.alone += assignments
            return outcome
        assignments = _unlimited(assignments, outcome)
        if not assignments:
            return outcome
        with self._code.active():
            members, work = self._members(assignments, outcome)
            form = work.form if work is not None else None
            if work is not None and form is not None and members:
                self._perform(work, form, members, model, outcome)
                self._let_go(form.kept_bytes)
        return outcome

    def _let_go(self, most_bytes: int) -> None:
        """Let the data of those sites go that have not worked for the longest time."""
        while self._sites and (self._kept_bytes > most_bytes or len(self._sites) > self._most_kept):
            oldest = self._sites.pop(next(iter(self._sites)))
            self._kept_bytes -= oldest.batches.data_bytes

    def _members(
        self, assignments: Sequence[Assignment], outcome: BatchOutcome
    ) -> tuple[list[tuple[Assignment, _Site]], _Work | None]:
        """Choose the first ones that go together; those that never do are to work alone."""
        chosen: list[tuple[Assignment, _Site]] = []
        work: _Work | None = None
        kind: _Kind | None = None
        left_bytes = self._most_bytes
        for place, assignment in enumerate(assignments):
            site = self._site(assignment.collaborator)
            if site is None:
                outcome.alone.append(assignment)
                continue
            if work is None:
                work, kind = self._work(site.kind, assignment, outcome), site.kind
            if site.kind != kind:
                outcome.rest.append(assignment)
                continue
            if work.form is None:
                outcome.alone.append(assignment)
                continue
            left_bytes -= self._size(site, work, work.form)
            if len(chosen) >= self._most or (chosen and left_bytes < 0):
                outcome.rest += assignments[place:]
                break
            chosen.append((assignment, site))
        return chosen, work

    def _size(self, site: _Site, work: _Work, form: BatchForm) -> int:
        key = work.phase, len(work.tasks)
        if key not in site.sizes:
            site.sizes[key] = form.size_bytes(site.batches, work.tasks)
        return site.sizes[key]

    def _work(self, kind: _Kind, assignment: Assignment, outcome: BatchOutcome) -> _Work:
        for known, work in self._works:
            if known == kind and work.is_of(assignment):
                return work
        work = _Work(assignment.phase, assignment.tasks)
        self._works.append((kind, work))
        try:
            form = self._form(kind)
            reason = form.obstacle(work.phase, work.tasks)
        except CannotBatchError as error:
            reason = error.reason
        except Exception as error:  # noqa: BLE001 (alone, a site says what is wrong with it)
            reason = NotBatched(Obstacle.RAISED, _words(error), work.phase)
        else:
            work.form = form if reason is None else None
        if reason is not None:
            work.reason = reason.obstacle
            outcome.reasons.append(reason)
        return work

    @cached_property
    def _metrics(self) -> Mapping[str, ChosenMetrics]:
        return build_metrics(self._plan)

    @cached_property
    def _load(self) -> Callable[[Shard], object]:
        """What makes the data loader of a site; found with the first one, for that takes as long as to use it."""
        return site_loader(self._plan.data_loader, self._workspace)

    def _site(self, name: str) -> _Site | None:
        """Take up a site; None if it cannot be: alone, it says why."""
        site = self._sites.pop(name, None)
        if site is None:
            try:
                shard = self._shards[name]
                kind = _kind(shard)
                site = _Site(kind, self._form(kind).site(self._load(shard)))
            except Exception:  # noqa: BLE001 (loaders and shards are code of others)
                return None
            self._kept_bytes += site.batches.data_bytes
        self._sites[name] = site  # the last one that worked
        return site

    def _perform(
        self,
        work: _Work,
        form: BatchForm,
        chosen: Sequence[tuple[Assignment, _Site]],
        model: TensorFile,
        outcome: BatchOutcome,
    ) -> None:
        """Have them trained at once; whoever is at fault, or all, go to those who work alone."""
        began = time.perf_counter()
        assignments = [assignment for assignment, _ in chosen]
        members = [BatchMember(site.batches, assignment.seed) for assignment, site in chosen]
        tensors = {name: model.tensor(name) for name in model.names if not is_algorithms(name)}
        rounds = self._plan.aggregator.settings.rounds
        try:
            results = form.perform(
                BatchWork(
                    work.phase, work.tasks, tensors, assignments[0].round, rounds, self._algorithm, self._metrics
                ),
                members,
            )
            updates = _updates(assignments, members, results, began)
            if work.tried or self._try(work, chosen, updates, model):
                outcome.updates = updates
            else:
                outcome.alone += assignments
        except UnfitMembersError as error:
            outcome.alone += [one for place, one in enumerate(assignments) if place in error.members]
            outcome.rest[:0] = [one for place, one in enumerate(assignments) if place not in error.members]
        except BatchTooLargeError as error:
            self._take_fewer(work, assignments, error, outcome)
        except CannotBatchError as error:
            self._give_up(work, assignments, error.reason, outcome)
        except Exception as error:  # noqa: BLE001 (one member may be at fault, or all)
            reason = NotBatched(Obstacle.RAISED, _words(error), work.phase)
            if not work.tried:
                self._give_up(work, assignments, reason, outcome)
            else:
                outcome.alone += assignments
                outcome.reasons.append(reason)

    @staticmethod
    def _give_up(work: _Work, assignments: Sequence[Assignment], reason: NotBatched, outcome: BatchOutcome) -> None:
        """Have this work done by each site alone from now on."""
        work.form, work.reason = None, reason.obstacle
        outcome.alone += assignments
        outcome.reasons.append(reason)

    def _take_fewer(
        self, work: _Work, assignments: Sequence[Assignment], error: BatchTooLargeError, outcome: BatchOutcome
    ) -> None:
        """Have fewer sites at once from now on."""
        if len(assignments) > 1:
            self._most = len(assignments) // 2
            outcome.rest[:0] = assignments
        else:
            outcome.alone += assignments
            outcome.reasons.append(NotBatched(Obstacle.RAISED, _words(error), work.phase))

    def _try(
        self,
        work: _Work,
        chosen: Sequence[tuple[Assignment, _Site]],
        updates: Sequence[SiteUpdate],
        model: TensorFile,
    ) -> bool:
        """Have the smallest and the largest site do it alone, too; False if one fails, so that the next batch is tried.

        Raises:
            CannotBatchError: If the results are others.
        """
        by_size = sorted(range(len(chosen)), key=lambda place: chosen[place][1].batches.num_train)
        for place in {by_size[0], by_size[-1]}:
            assignment = chosen[place][0]
            alone = self._alone(assignment, model)
            if alone is None:
                return False
            far = distance(updates[place], alone)
            if far > TOLERANCE:
                detail = f"alone, site '{assignment.collaborator}' has other results, by {far:.1e}"
                raise CannotBatchError(NotBatched(Obstacle.DIFFERS, detail, work.phase))
        work.tried = True
        return True

    def _alone(self, assignment: Assignment, model: TensorFile) -> SiteUpdate | None:
        place = UpdateInMemory()
        try:
            performer = Performer(self._plan, self._shards[assignment.collaborator], self._workspace, self._device)
            return SiteUpdate(performer.perform(assignment, model, place), place.content)
        except FederationError:
            return None


class _Watched:
    """A batched form whose runner must not look at data.

    Args:
        form: The form.
        loader: Of its runner.
    """

    def __init__(self, form: BatchForm, loader: UnseenLoader) -> None:
        self._form, self._loader = form, loader
        self.site, self.size_bytes, self.kept_bytes = form.site, form.size_bytes, form.kept_bytes

    def obstacle(self, phase: Phase, tasks: Sequence[TaskCall]) -> NotBatched | None:
        """See `BatchForm`."""
        try:
            return self._form.obstacle(phase, tasks)
        finally:
            _check_unseen(self._loader)

    def perform(self, work: BatchWork, members: Sequence[BatchMember]) -> BatchResults:
        """See `BatchForm`."""
        try:
            return self._form.perform(work, members)
        finally:
            _check_unseen(self._loader)


def _check_unseen(loader: UnseenLoader) -> None:
    if loader.seen:
        detail = f"the runner looks at '{loader.seen[0]}' of its data loader, so each site may have another one"
        _refuse(Obstacle.DATA, detail)


def _kind(shard: Shard) -> _Kind:
    return tuple(shard.sample_shape), tuple(shard.target_shape), shard.schema.classes


def _updates(
    assignments: Sequence[Assignment], members: Sequence[BatchMember], results: BatchResults, began: float
) -> list[SiteUpdate]:
    """Make the updates; each site counts with its share of the time."""
    contents: Sequence[TensorRow | None] = [None] * len(members)
    if results.tensors:
        contents = tensor_rows(results.tensors)
    each_s = (time.perf_counter() - began) / len(members)
    return [
        SiteUpdate(
            Update(
                assignment.round,
                assignment.phase,
                assignment.collaborator,
                "" if content is None else content.digest,
                member.site.num_validate if content is None else member.site.num_train,
                metrics,
                each_s,
            ),
            content,
        )
        for assignment, member, metrics, content in zip(assignments, members, results.metrics, contents, strict=True)
    ]


def _refuse(obstacle: Obstacle, detail: str) -> NoReturn:
    raise CannotBatchError(NotBatched(obstacle, detail))


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error)}"[:_LONGEST_DETAIL]


def _unlimited(assignments: Sequence[Assignment], outcome: BatchOutcome) -> Sequence[Assignment]:
    """Return those that train as much as their tasks say; the others are to work alone, and it is said why."""
    own = [each for each in assignments if _is_limited(each)]
    if not own:
        return assignments
    detail = "deadline.train_s or work has each site train as much as it may itself"
    outcome.alone += own
    outcome.reasons.append(NotBatched(Obstacle.TASKS, detail, own[0].phase))
    return [each for each in assignments if not _is_limited(each)]


def _is_limited(assignment: Assignment) -> bool:
    return (assignment.train_s, assignment.batch_limit, assignment.work) != (None, None, None)
