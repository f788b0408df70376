"""Two rounds of a plan on invented data: every kind of site trains and evaluates, the updates become a model."""

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from openfl_like.authoring.dry_run.checks import look_at_metrics, look_at_round, look_at_update
from openfl_like.authoring.dry_run.findings import DryRunFinding, FindingKind, Findings
from openfl_like.authoring.dry_run.kinds import SiteKind
from openfl_like.authoring.dry_run.player import Player
from openfl_like.errors import TensorError
from openfl_like.federation.components import build_encoding, build_selector
from openfl_like.federation.events import Aggregate, ValidateUpdates
from openfl_like.federation.participation.selection import SelectionView
from openfl_like.federation.parts.source import REGISTERED, PartSource
from openfl_like.federation.seeds import assignment_seed, compression_seed, derive_seed
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.federation.validation.verdict import Consequence
from openfl_like.plan.schema import CompressionPipeline, Plan
from openfl_like.runtimes.models import ModelRepository, describe
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import TensorFile, write_tensors
from openfl_like.tensors.encoded import Sent, open_update
from openfl_like.tensors.manifest import file_digest

ROUNDS = 2
BROKEN_OFF = (FindingKind.TASK_FAILED, FindingKind.NOT_OVER, FindingKind.PROCESS_ENDED)
"""With one of these, what is missing is missing for that reason."""
MOST_UPDATES, MOST_BYTES = 1000, 512_000_000
"""So many updates are made into a model at most, and so many bytes of them: those of sites that are alike are the same
one."""
LEAST_UPDATES = 8
"""So many are in any case, if a cohort has them."""
_NO_FILE = "there is no file of it"
"""Of an answer: whoever gave it in the worker's place wrote none."""


@dataclass(slots=True)
class StepsDone:
    """What was done, and what it took.

    Attributes:
        rounds: How many rounds were completed.
        seconds: Kind of site and phase -> seconds that it took, each time.
        combine_s: Seconds for checking updates and making a model of them, each time.
        combined: How many updates these were.
        peak_bytes: Memory of the workers.
        model_bytes: Of the initial model's file.
        update_bytes: Of the largest update's file.
    """

    rounds: int = 0
    seconds: dict[tuple[str, Phase], list[float]] = field(default_factory=dict)
    combine_s: list[float] = field(default_factory=list)
    combined: int = 0
    peak_bytes: int = 0
    model_bytes: int = 0
    update_bytes: int = 0


class Rounds:
    """Drives the players through the rounds.

    Args:
        plan: The plan.
        files: Where models and updates go.
        players: They have come.
        findings: Where it is noted what goes wrong.
        parts: Builds the parts of a round.
    """

    def __init__(
        self,
        plan: Plan,
        files: ExperimentFiles,
        players: Sequence[Player],
        findings: Findings,
        parts: PartSource = REGISTERED,
    ) -> None:
        self._plan, self._files, self._players, self._findings = plan, files, players, findings
        self._repository = ModelRepository(
            _without_encoding(plan), files, parts
        )  # updates are decoded when they are looked at
        self._parts, self._encoding = parts, build_encoding(plan)
        self._state = ""
        self._odd: set[str] = set()  # players whose model is not that of the others any more
        self.steps = StepsDone()

    async def run(self) -> StepsDone:
        """Make the initial model and do the rounds, as far as that is possible."""
        digest = await self._initial() if self._players else ""
        rounds = min(ROUNDS, self._plan.aggregator.settings.rounds or ROUNDS)
        for number in range(1, rounds + 1):
            if not digest:
                break
            digest = await self._round(number, digest)
        self.steps.peak_bytes = max((player.peak_bytes() for player in self._players), default=0)
        return self.steps

    async def _initial(self) -> str:
        """Return the digest of the model that everybody starts from; empty: there is none."""
        path = self._files.model(0)
        if not path.exists():
            player = next((one for one in self._players if one.there), None)
            if player is None:
                return ""
            made = await self._made_by(player)
            if made is None:
                return ""
            file = player.place(self._beginning(player))
            wrong = _no_model(file)
            if wrong:
                found = DryRunFinding(FindingKind.UPDATE_REFUSED, phase=Phase.INITIALISE, said=wrong)
                self._note(player, [found])
                return ""
            os.link(file, path)
        self.steps.model_bytes = path.stat().st_size
        digest = file_digest(path)
        self._repository.put(digest, 0)
        return digest

    def _beginning(self, player: Player) -> Assignment:
        calls = player.kind.calls(self._plan, Phase.INITIALISE)
        seed = assignment_seed(self._plan.seed, 0, "", Phase.INITIALISE.value)
        return Assignment(0, Phase.INITIALISE, player.name, calls, "", seed)

    async def _made_by(self, player: Player) -> Update | None:
        first = await player.perform(self._beginning(player), None)
        again = await player.perform(self._beginning(player), None, "-again") if first is not None else None
        if first is not None and again is not None and first.digest != again.digest:
            self._findings.add(DryRunFinding(FindingKind.INITIAL_NOT_REPEATABLE, phase=Phase.INITIALISE))
        return first

    async def _round(self, number: int, base: str) -> str:
        """Do one round; return the digest of its model, empty if there is none."""
        trained = await self._train(number, base)
        trains = any(player.kind.calls(self._plan, Phase.TRAIN) for player in self._players)
        digest = base if not trains else await self._combined(number, base, trained) if trained else ""
        evaluated = await self._evaluate(number, digest or base)
        if not digest:
            return ""
        if not self._findings.has(BROKEN_OFF):
            self._findings.extend(look_at_round(self._plan, number, trained, evaluated))
        self.steps.rounds = number
        return digest

    async def _train(self, number: int, base: str) -> dict[str, Update]:
        trained: dict[str, Update] = {}
        for player in self._players:
            assignment = self._assignment(player, number, Phase.TRAIN, base)
            update = await self._timed(player, assignment, base)
            if update is None or not self._fits(player, assignment, base, update):
                continue
            if number == 1 and not trained:
                await self._try_again(player, assignment, base, update)
            trained[player.name] = update
        return trained

    async def _evaluate(self, number: int, digest: str) -> dict[str, Update]:
        evaluated: dict[str, Update] = {}
        for player in self._players:
            if player.name in self._odd:
                continue
            update = await self._timed(player, self._assignment(player, number, Phase.EVALUATE, digest), digest)
            if update is not None:
                evaluated[player.name] = update
        return evaluated

    def _assignment(self, player: Player, number: int, phase: Phase, model: str) -> Assignment:
        calls = player.kind.calls(self._plan, phase)
        seed = assignment_seed(self._plan.seed, number, player.name, phase.value)
        return Assignment(number, phase, player.name, calls, model, seed, continues=number - 1)

    async def _timed(self, player: Player, assignment: Assignment, model: str) -> Update | None:
        if not assignment.tasks or not player.there:
            return None
        update = await player.perform(assignment, self._repository.path(model))
        if update is not None:
            self.steps.seconds.setdefault((player.name, assignment.phase), []).append(update.duration_s)
            self._note(player, look_at_metrics(self._plan, update))
        return update

    def _fits(self, player: Player, assignment: Assignment, base: str, update: Update) -> bool:
        """Whether an update can be made into a model with others; what is odd about it is noted."""
        file = player.place(assignment)
        if not file.is_file():
            self._note(player, [DryRunFinding(FindingKind.UPDATE_REFUSED, phase=Phase.TRAIN, said=_NO_FILE)])
            return False
        self.steps.update_bytes = max(self.steps.update_bytes, file.stat().st_size)
        sent = self._sent(update, base)
        with TensorFile(self._repository.path(base)) as model:
            found = list(look_at_update(file, sent, model, update))
        self._note(player, found)
        if any(one.kind is FindingKind.TENSORS_DIFFER for one in found):
            self._odd.add(player.name)
        fits = all(one.kind is FindingKind.NOT_TRAINED for one in found)
        if fits and sent is not None:
            with closing(open_update(file, sent)) as reader:
                write_tensors(
                    _decoded(file), {spec.name: reader.tensor(spec.name) for spec in reader.schema}, sync=False
                )
        return fits

    def _sent(self, update: Update, base: str) -> Sent | None:
        if self._encoding is None:
            return None
        seed = compression_seed(self._plan.seed, update.round, update.collaborator)
        return Sent(self._encoding, seed, self._repository.path(base))

    async def _try_again(self, player: Player, assignment: Assignment, base: str, update: Update) -> None:
        """Have the same assignment performed once more: in a federation, too, a worker may have to."""
        again = await player.perform(assignment, self._repository.path(base), "-again")
        if again is not None and again.digest != update.digest:
            self._note(player, [DryRunFinding(FindingKind.NOT_REPEATABLE, phase=Phase.TRAIN, round=assignment.round)])
        if again is not None:
            self.steps.seconds[player.name, Phase.TRAIN].append(again.duration_s)

    def _note(self, player: Player, found: Sequence[DryRunFinding] | Iterator[DryRunFinding]) -> None:
        self._findings.extend(replace(one, sites=player.kind.names) for one in found)

    async def _combined(self, number: int, base: str, trained: Mapping[str, Update]) -> str:
        """Make a model of the updates, as many as a cohort has; return its digest, empty if that went wrong."""
        updates = await asyncio.to_thread(self._cohort, number, trained)
        start = time.perf_counter()
        try:
            found = await asyncio.to_thread(self._repository.validate, ValidateUpdates(number, base, updates))
            for site, said in found.problems.items():
                self._findings.add(
                    DryRunFinding(FindingKind.UPDATE_REFUSED, (site,), phase=Phase.TRAIN, round=number, said=said)
                )
            if found.problems:
                return ""
            dropped = {verdict.collaborator for verdict in found.verdicts if verdict.action is Consequence.DROP}
            updates = tuple(update for update in updates if update.collaborator not in dropped) or updates
            command = Aggregate(number, updates, base, self._state, len(updates))
            made = await asyncio.to_thread(self._repository.aggregate, command)
        except Exception as error:  # noqa: BLE001 (as at the Aggregator: whatever goes wrong is the round's reason)
            self._findings.add(DryRunFinding(FindingKind.NOT_COMBINED, round=number, failure=describe(error)))
            return ""
        self.steps.combine_s.append(time.perf_counter() - start)
        self.steps.combined = len(updates)
        self._state = made.server_state
        return made.digest

    def _cohort(self, number: int, trained: Mapping[str, Update]) -> tuple[Update, ...]:
        """Put the updates of a cohort into the spool: sites that are alike have the same one, each with its weight."""
        kinds = {player.name: player for player in self._players}
        played = {site.name: name for name in trained for site in kinds[name].kind.sites}
        selector = build_selector(self._plan, self._parts)
        able = selector.eligible(sorted(played))
        most = max(LEAST_UPDATES, min(MOST_UPDATES, MOST_BYTES // max(1, self.steps.model_bytes)))
        seed = derive_seed(self._plan.seed, number, "selection")
        view = SelectionView.of(able, 0, seed)
        chosen = selector.select(replace(view, count=min(most, selector.wanted(view))))[:most] or sorted(trained)
        updates = []
        for site in sorted(chosen):
            player = kinds[played[site]]
            update = trained[player.name]
            own = replace(update, collaborator=site, num_samples=_weight(player.kind, site, update))
            target = self._repository.spool_path(own)
            target.unlink(missing_ok=True)
            file = player.place(self._assignment(player, number, Phase.TRAIN, ""))
            os.link(file if self._encoding is None else _decoded(file), target)
            updates.append(own)
        return tuple(updates)


def _without_encoding(plan: Plan) -> Plan:
    """Return the plan with updates that are model files: one that is encoded is so for a single site."""
    settings = plan.collaborator.settings.model_copy(update={"delta_updates": None})
    collaborator = plan.collaborator.model_copy(update={"settings": settings})
    return plan.model_copy(update={"collaborator": collaborator, "compression_pipeline": CompressionPipeline()})


def _no_model(file: Path) -> str:
    """Say why a file is no model; empty: it is one."""
    if not file.is_file():
        return _NO_FILE
    try:
        open_update(file, None, verify=True).close()
    except TensorError as error:
        return f"its model file is damaged: {error.message}"
    return ""


def _decoded(file: Path) -> Path:
    return file.with_suffix(".decoded")


def _weight(kind: SiteKind, site: str, update: Update) -> int:
    """Return how many samples stand behind a site's update: its own number, if that is known."""
    data = next((one.data for one in kind.sites if one.name == site), None)
    counted = None if data is None else data.counts.get("train")
    return counted or update.num_samples
