"""The models and updates of an experiment as files: checked, combined, published."""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from openfl_like.aggregation.arriving import ArrivingModel
from openfl_like.aggregation.build import build_recipe, build_validators
from openfl_like.aggregation.engine import Combined, Output, Recipe, Start, UpdateFile, aggregate_files
from openfl_like.aggregation.rules import WeightedAverage
from openfl_like.aggregation.sketch import sketch
from openfl_like.aggregation.spans import Job
from openfl_like.aggregation.validation.compared import judge_updates
from openfl_like.aggregation.validators import validate_update
from openfl_like.errors import DamagedError, FederationError, NotFoundError
from openfl_like.failpoints import failpoint
from openfl_like.federation.components import build_encoding, build_evaluation_selector, build_selector
from openfl_like.federation.events import (
    Aggregate,
    ModelAggregated,
    ModelVersion,
    PlaceUpdates,
    UpdatesValidated,
    ValidateUpdates,
)
from openfl_like.federation.failure import FailedPartError, Failure, FailureKind, one_line
from openfl_like.federation.participation.needs import Needs, needs_of
from openfl_like.federation.parts.source import REGISTERED, PartSource
from openfl_like.federation.seeds import compression_seed
from openfl_like.federation.stopping import settled_round
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.federation.validation.verdict import UpdateVerdict
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.published import PublishedFiles
from openfl_like.runtimes.scored import ScoredUpdates
from openfl_like.runtimes.updates_in_memory import CopiesInMemory, UpdatesInMemory
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import FileContent
from openfl_like.tensors.container import TensorFile
from openfl_like.tensors.encoded import Sent, open_update
from openfl_like.tensors.manifest import Manifest, file_digest, manifest_of
from openfl_like.tensors.memory import TensorMemory

MOST_THREADS = 4
"""Combining updates is bound by memory; more threads would only be in each other's way."""

QUICK_BYTES, QUICK_IN_MEMORY_BYTES = 1 << 18, 1 << 21
"""What updates come to that are dealt with at once: in files; and in memory, while nobody waits for anything else."""

_Key: TypeAlias = tuple[int, Phase, str, str]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpdateArrival:
    """Tells a model that is being made of an update's chunks."""

    model: ArrivingModel
    collaborator: str

    def begin(self, part: Path, missing: Collection[int]) -> None:
        """All chunks but these are in this file, which gets its name when it is complete."""
        self.model.begin(self.collaborator, part, missing)

    def placed(self, index: int) -> None:
        """A chunk is here, and is the promised one."""
        self.model.placed(self.collaborator, index)


class ModelRepository:
    """Finds models by digest and makes new ones from updates; all methods block and belong on a thread.

    Args:
        plan: Names the validators, the aggregation rule, the server optimizer and the compression of updates.
        files: Where models and updates are.
        parts: Builds these.

    Attributes:
        in_memory: Updates that are in no file.
        published: The files of published versions.
        answers_late: Whether a part may take its time over a block: then it is asked on threads only.
        scored: Updates that are being scored.
    """

    def __init__(self, plan: Plan, files: ExperimentFiles, parts: PartSource = REGISTERED) -> None:
        self._files = files
        self._plan = plan
        self._validators, self._comparing = build_validators(plan, parts)
        self._recipe = build_recipe(plan, parts)
        self.answers_late = self._asks_late()
        self._encoding = build_encoding(plan)
        self._sketched_by = needs_of(build_selector(plan, parts), build_evaluation_selector(plan, parts)) & {
            Needs.UPDATES,
            Needs.WEIGHTS,
        }
        self._rounds: dict[str, int] = {}
        self._manifests: dict[str, Manifest] = {}
        self._verdicts: dict[_Key, str] = {}
        self._base: dict[str, TensorFile] = {}
        self.in_memory = UpdatesInMemory(files, plan.mode.most_staleness)
        self._copies = CopiesInMemory()
        self.published = PublishedFiles(plan, files, has_state=bool(self._recipe.slots))
        self._arriving: ArrivingModel | None = None
        self.scored = ScoredUpdates(files, self.in_memory, self._sent)
        self._content = "", b""

    def _asks_late(self) -> bool:
        recipe = self._recipe
        rules = (recipe.rule, *(choice.rule for choice in recipe.choices))
        parts = (*self._validators, *self._comparing, *rules, recipe.optimizer, recipe.algorithm)
        return any(getattr(part, "answers_late", False) is True for part in parts)

    def put(self, digest: str, round_number: int) -> None:
        """Remember which round's file has this digest."""
        self._rounds[digest] = round_number

    def known(self, digest: str) -> Manifest | None:
        """Return the manifest of a model if that is known without reading its file."""
        return self._manifests.get(digest)

    def manifest(self, digest: str) -> Manifest:
        """Return the manifest of a model; its file is read for it once at most.

        Raises:
            DamagedError: If the file is not that model any more.
            NotFoundError: If there is none.
        """
        scored = self.scored.find(digest)
        if scored is not None:
            return scored[1]
        path = self.path(digest)
        if digest not in self._manifests:
            found = manifest_of(path)
            if found.digest != digest:
                raise DamagedError(f"the model is {found.digest[:12]} instead of {digest[:12]}", place=str(path))
            self._manifests[digest] = found
        return self._manifests[digest]

    def path(self, digest: str) -> Path:
        """Return the file of a model, or of one that is to be scored; raises NotFoundError."""
        scored = self.scored.find(digest)
        return scored[0] if scored is not None else self._files.model(self._round_of(digest))

    def content(self, digest: str) -> bytes:
        """Return all bytes of a model; those of the last one that was asked for are kept, as every site gets it."""
        if self._content[0] != digest:
            self._content = digest, self.path(digest).read_bytes()
        return self._content[1]

    def _round_of(self, digest: str) -> int:
        if digest not in self._rounds:
            self._recognise()
        if digest not in self._rounds:
            raise NotFoundError(f"there is no model {digest[:12]}")
        return self._rounds[digest]

    def _recognise(self) -> None:
        """Read files that nobody told us of: the model that a former process made and did not publish any more."""
        known = set(self._rounds.values())
        for number, path in self._files.models().items():
            if number not in known:
                self.put(file_digest(path), number)

    def _place(self, update: Update) -> Path | TensorMemory:
        return self.in_memory.find(update) or self._copies.find(update) or self.spool_path(update)

    def spool_path(self, work: Assignment | Update) -> Path:
        """Return the place in the spool of an assignment's update."""
        return self._files.update(work.round, work.phase, work.collaborator)

    def recyclable(self, collaborator: str) -> Path:
        """Return the file that the next update of a collaborator may overwrite."""
        return self._files.recyclable(collaborator)

    def validate(self, command: ValidateUpdates) -> UpdatesValidated:
        """Look at each update, and compare those with each other that are no problem by themselves."""
        made = self._arriving is not None and self._arriving.is_of(command.updates)
        finite = made and self._arriving is not None and self._arriving.complete(in_threads)
        self.in_memory.put_together(command.updates)
        verdicts = {
            update.collaborator: self._verdict(
                update, command.bases.get(update.collaborator, command.base_model), finite=finite
            )
            for update in command.updates
        }
        failpoint("aggregator.validated")
        problems = {collaborator: problem for collaborator, problem in verdicts.items() if problem}
        return UpdatesValidated(
            command.round, problems, self._compare(command, problems), self._sketched(command, problems)
        )

    def _sketched(self, command: ValidateUpdates, problems: Mapping[str, str]) -> dict[str, tuple[float, ...]]:
        """Sketch the updates that are no problem, if a selector goes by that."""
        if not self._sketched_by or not command.base_model:
            return {}
        base = self.opened(command.base_model)
        compared = Needs.UPDATES in self._sketched_by
        sound = [each for each in command.updates if each.num_samples and each.collaborator not in problems]
        found: dict[str, tuple[float, ...]] = {}
        for file in self._contributions(sound, base.path, command):
            with ExitStack() as stack:
                update = stack.enter_context(closing(open_update(file.content, file.sent)))
                start = base if file.base is None else stack.enter_context(TensorFile(file.base))
                found[file.collaborator] = sketch(update, start if compared else None, self._plan.seed)
        return found

    def _compare(self, command: ValidateUpdates, problems: Mapping[str, str]) -> tuple[UpdateVerdict, ...]:
        updates = [each for each in command.updates if each.num_samples and each.collaborator not in problems]
        if not self._comparing or not command.base_model or not updates:
            return ()
        base = self.opened(command.base_model)
        files = self._contributions(updates, base.path, command)
        return judge_updates(self._comparing, updates, files, base, in_threads)

    def _contributions(
        self, updates: Sequence[Update], base: Path | None, command: ValidateUpdates | Aggregate
    ) -> list[UpdateFile]:
        factors: Mapping[str, float] = command.factors if isinstance(command, Aggregate) else {}
        weights: Mapping[str, float] = command.weights if isinstance(command, Aggregate) else {}
        older = {name: self.path(digest) for name, digest in command.bases.items()}
        return [
            UpdateFile(
                update.collaborator,
                self._place(update),
                update.num_samples * weights.get(update.collaborator, 1.0),
                self._sent(update, older.get(update.collaborator, base)),
                factors.get(update.collaborator, 1.0),
                older.get(update.collaborator),
            )
            for update in updates
        ]

    def quick(self, command: ValidateUpdates | PlaceUpdates | Aggregate, *, alone: bool = False) -> bool:
        """Whether a step is done at once: it takes no longer than a hop to a thread, or little longer in memory.

        Args:
            command: The step.
            alone: Whether nobody waits for anything else meanwhile.
        """
        reads = self._comparing or self._sketched_by
        looked_at = not reads and isinstance(command, ValidateUpdates)
        if looked_at and all(_key(update) in self._verdicts for update in command.updates):
            return True
        base = self.known(command.base_model)
        if base is None or self.answers_late:
            return False
        total_bytes = (len(command.updates) + 1) * base.total_bytes  # each is about as large, or stands for as much
        if isinstance(command, PlaceUpdates) and self._encoding is not None:
            return False
        if alone and total_bytes < QUICK_IN_MEMORY_BYTES and self.in_memory.have(command.updates):
            return True
        return not isinstance(command, ValidateUpdates) and total_bytes < QUICK_BYTES

    def arrival(
        self, update: Update, manifest: Manifest, base_model: str, names: Collection[str]
    ) -> UpdateArrival | None:
        """Return who is to be told of an update's chunks, so that the round's model is made while they arrive.

        Args:
            update: The update.
            manifest: Of its file.
            base_model: The model that it started from.
            names: Everybody who was asked for one.
        """
        waits = self._plan.mode.settings is None  # otherwise nobody knows yet which updates make a model together
        if update.phase is not Phase.TRAIN or self._encoding is not None or len(manifest.chunks) < 2 or not waits:
            return None
        if self.answers_late:
            return None
        if self._arriving is not None and self._arriving.round != update.round:
            self._let_arriving_go()
        if self._arriving is None:
            schema, out = self.opened(base_model).schema, self._output(update.round)
            self._arriving = ArrivingModel(self._recipe, update.round, schema, names, out)
        self._arriving.announce(update, manifest, self.spool_path(update))
        return UpdateArrival(self._arriving, update.collaborator)

    def _let_arriving_go(self) -> None:
        if self._arriving is not None:
            self._arriving.drop()
            self._arriving = None

    def inspect(self, update: Update, base_model: str, content: bytes | None = None) -> None:
        """Look at an update as soon as it is here, while others are still on their way; `validate` asks for it.

        One that a model is made of already is not looked at: who looks at the model has looked at it.

        Args:
            update: Which one.
            base_model: Digest of the model that it started from.
            content: What is in its file, if that is known.
        """
        if content is not None and self._encoding is None:
            self._copies.keep(update, content)
        if self._arriving is not None and self._arriving.expects(update):
            return
        with suppress(FailedPartError):  # `validate` asks again, and the experiment ends with the reason
            self._verdicts[_key(update)] = self._look(update, base_model)

    def _verdict(self, update: Update, base_model: str, *, finite: bool) -> str:
        known = self._verdicts.pop(_key(update), None)
        return self._look(update, base_model, finite=finite) if known is None else known

    def _look(self, update: Update, base_model: str, *, finite: bool = False) -> str:
        base = self.opened(base_model) if base_model else None
        sent = self._sent(update, base.path if base is not None else None)
        return validate_update(self._validators, self._place(update), base, update, sent, finite=finite)

    def opened(self, digest: str) -> TensorFile:
        """Open a global model once for all that start from it; raises NotFoundError."""
        known = self._base.get(digest)
        if known is None:
            known = TensorFile(self.path(digest))
            self._base = {digest: known}
        return known

    def _sent(self, update: Update, base: Path | None) -> Sent | None:
        if self._encoding is None or base is None or update.phase is not Phase.TRAIN:
            return None
        return Sent(self._encoding, compression_seed(self._plan.seed, update.round, update.collaborator), base)

    def aggregate(self, command: Aggregate) -> ModelAggregated:
        """Combine the updates into the round's model, and write what is kept for the next round beside it."""
        self.scored.clear()
        wanted = self._encoding is not None or self._recipe.needs_base or bool(command.factors or command.bases)
        base = self.path(command.base_model) if wanted and command.base_model else None
        contributions = self._contributions(command.updates, base, command)
        failpoint("aggregator.aggregate.before")
        combined = self._arrived(command)
        if combined is None:
            # One site makes the initial model: it is a copy.
            recipe = self._recipe if command.round else Recipe(WeightedAverage())
            out, start = self._output(command.round), self._start(command, base)
            combined = aggregate_files(recipe, contributions, out, start=start, executor=in_threads)
        failpoint("aggregator.aggregate.after")
        self._manifests[combined.model.digest] = combined.model
        self.put(combined.model.digest, command.round)
        state = "" if combined.state is None else combined.state.digest
        return ModelAggregated(command.round, combined.model.digest, state, combined.model.total_bytes)

    def _arrived(self, command: Aggregate) -> Combined | None:
        """Return the model that was made while its updates came in, if it is the one that is asked for."""
        arriving, self._arriving = self._arriving, None
        if arriving is None:
            return None
        combined = None
        plain = not (command.factors or command.weights or command.bases)
        if (
            plain
            and command.round == arriving.round
            and arriving.is_of(command.updates)
            and arriving.complete(in_threads)
        ):
            combined = arriving.finish()
        arriving.drop()
        return combined

    def _output(self, round_number: int) -> Output:
        return Output(
            self._files.model(round_number),
            self._files.server_state(round_number),
            sync=False,
            recyclable=self._files.recyclable("model"),
            recyclable_state=self._files.recyclable("state"),
        )

    def _start(self, command: Aggregate, base: Path | None) -> Start:
        state = self._files.server_state(self._round_of(command.base_model)) if command.base_state else None
        return Start(command.round, base, state, command.eligible)

    def publish(self, version: ModelVersion) -> list[FileContent]:
        """Make the version's files final: under the name of its round, and on disk unless they are small.

        Returns:
            The small ones, which are safe as soon as the record has them: one sync for all instead of one for each.
        """
        failpoint("aggregator.publish.before", self.path(version.digest))
        made_in = self._round_of(version.digest)
        if made_in != version.round:
            self._files.carry(made_in, version.round)
            self._rounds = {digest: number for digest, number in self._rounds.items() if number != version.round}
            self.put(version.digest, version.round)
        return self.published.take(version)

    def forget(self, versions: Sequence[ModelVersion], *, ended: bool = False) -> None:
        """Forget models and updates that nobody asks for any more; their files stay until `PublishedFiles.tidy`.

        Args:
            versions: All that were published.
            ended: Whether there will be no more: an experiment may end in the middle of a round.
        """
        newest = versions[-1].round if versions else 0
        settled = settled_round(self._plan, newest)
        if self._arriving is not None and (ended or self._arriving.round <= newest):
            self._let_arriving_go()
        self.in_memory.let_go(settled)
        self._copies.let_go(settled)
        self._base = {digest: file for digest, file in self._base.items() if versions and digest == versions[-1].digest}
        self.scored.clear()
        if versions:
            open_ones = {number for number in self._rounds.values() if number > newest}  # a simulation runs ahead
            keep = self.published.kept(versions) | open_ones
            self._rounds = {digest: number for digest, number in self._rounds.items() if number in keep}
            self._manifests = {digest: known for digest, known in self._manifests.items() if digest in self._rounds}


def _key(update: Update) -> _Key:
    return update.round, update.phase, update.collaborator, update.digest


def in_threads(work: Job, most: int) -> None:
    """A crew of a thread per processor, this one among them; raises what one of them raised."""
    count = min(most, len(os.sched_getaffinity(0)), MOST_THREADS)
    if count <= 1:
        work()
        return
    with ThreadPoolExecutor(count - 1) as pool:
        others = [pool.submit(work) for _ in range(count - 1)]
        work()
    for other in others:
        other.result()


def describe(error: Exception) -> Failure:
    """Return why a step could not be performed; a defect of ours is logged in full."""
    if isinstance(error, FailedPartError):
        return error.failure
    if not isinstance(error, FederationError | OSError):
        log.error("a step of the round failed", exc_info=error)
    return Failure(FailureKind.COMBINE, one_line(error), type(error).__name__)
