"""What must hold after any fault, decided from the evidence of a run; each breach is a value.

The letters are those of docs/faults.md: A1 submissions, A2 ends, A3 rounds, A4 contributors, A5 bits, A6 epochs, A7
remains, A11 reasons, and T: no fault that the platform promises to survive ends an experiment.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from openfl_like.federation.announcements import (
    ExperimentBegun,
    ExperimentEnded,
    ExperimentResumed,
    ModelMade,
    RoundFinished,
    RoundSkipped,
    RoundStarted,
    UpdateLost,
    UpdateReceived,
)
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.status import Status
from openfl_like.testing.faults.evidence import ExperimentEvidence, Happened, Process, RunEvidence

ENDED = frozenset(status.value for status in Status if status.ended)
RESUMABLE = frozenset({Status.FAILED.value, Status.CANCELLED.value})
Wanted = TypeVar("Wanted")


@dataclass(frozen=True, slots=True)
class Breach:
    """An invariant that does not hold.

    Attributes:
        letter: Which one.
        place: The experiment, file, process or port.
        explanation: What is wrong, in one line.
    """

    letter: str
    place: str
    explanation: str

    def __str__(self) -> str:
        return f"{self.letter} {self.place}: {self.explanation}"


@dataclass(frozen=True, slots=True)
class Reference:
    """What an undisturbed run of a plan made.

    Attributes:
        sha256: Of its last model.
        contributors: Round -> who contributed; an experiment with others is not compared.
    """

    sha256: str
    contributors: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known about a run beforehand.

    Attributes:
        references: Digest of a plan -> its undisturbed run.
        all_finish: Whether nothing that was done to it may end an experiment as FAILED.
        cancelled: Experiments that the clients cancelled.
        over: Whether the run is over, so that every experiment must have ended.
    """

    references: Mapping[str, Reference] = field(default_factory=dict)
    all_finish: bool = True
    cancelled: frozenset[str] = frozenset()
    over: bool = True


def check(evidence: RunEvidence, expected: Expected) -> list[Breach]:
    """Return every breach; none is the wanted result."""
    found = [*_acknowledged(evidence), *_submitted(evidence), *_told(evidence), *_remains(evidence)]
    if evidence.damage:
        found.append(Breach("A1", "director.db", f"it is damaged: {evidence.damage}"))
    for item in evidence.experiments:
        found += [
            *_end(item, expected, live=item.id in evidence.live),
            *_history(item),
            *_rounds(item),
            *_repeated(item),
            *_models(item),
            *_epochs(item),
            *_contributors(item),
            *_absences(item),
            *_bits(item, expected),
            *_reason(item, expected),
        ]
    return found


def lost_and_doubled(breaches: Sequence[Breach]) -> tuple[int, int]:
    """Count the acknowledged submissions that are not there, and those that are there twice."""
    submissions = [breach.explanation for breach in breaches if breach.letter == "A1"]
    return sum("is not there" in text for text in submissions), sum("twice" in text for text in submissions)


# ---- A1: an acknowledged submission is there, once ----------------------------------------------------------------


def acknowledged(evidence: RunEvidence) -> dict[str, set[str]]:
    """Return the submissions that were acknowledged: request id -> the experiments that were told for it."""
    answers: dict[str, set[str]] = {}
    for call in evidence.calls:
        if call.name == "submit" and call.told is not None:
            answers.setdefault(call.request_id, set()).add(call.told.experiment)
    return answers


def _acknowledged(evidence: RunEvidence) -> Iterator[Breach]:
    there = {item.id for item in evidence.experiments}
    known = dict(evidence.requests)
    answers = acknowledged(evidence)
    for request, ids in sorted(answers.items()):
        if len(ids) > 1:
            yield Breach("A1", f"request {request}", f"it was answered twice, with {', '.join(sorted(ids))}")
        for name in sorted(ids - there):
            yield Breach("A1", name, f"it was acknowledged (request {request}) and is not there")
        if not evidence.damage and known.get(request) not in ids:
            found = known.get(request, "nothing")
            yield Breach("A1", f"request {request}", f"the Director knows {found} of it, its submitter {sorted(ids)}")


def _submitted(evidence: RunEvidence) -> Iterator[Breach]:
    asked = {call.request_id for call in evidence.calls if call.name == "submit"}
    for request, count in sorted(Counter(item.request_id for item in evidence.experiments).items()):
        if count > 1:
            yield Breach("A1", f"request {request}", f"it is there twice: {count} experiments")
        if request not in asked:
            yield Breach("A1", f"request {request}", "nobody made it")
    for item in evidence.experiments:
        if item.bundle_found != item.bundle:
            yield Breach("A1", item.id, f"its bundle is {item.bundle_found or 'missing'}, not {item.bundle}")


# ---- A2: exactly one end ------------------------------------------------------------------------------------------


def _told(evidence: RunEvidence) -> Iterator[Breach]:
    """An end that a client was told of never changes again, but as often as the experiment was resumed."""
    final = {item.id: item.status for item in evidence.experiments}
    resumed = Counter({item.id: len(_of(item, ExperimentResumed)) for item in evidence.experiments})
    ends: dict[str, tuple[float, str]] = {}
    for call in sorted(evidence.calls, key=lambda call: call.end):
        if call.told is None or not call.told.status:
            continue
        name, status = call.told.experiment, call.told.status
        when, end = ends.get(name, (0.0, ""))
        if end and call.start >= when and status != end:
            if resumed[name]:
                resumed[name] -= 1
                end = ""
                del ends[name]
            else:
                yield Breach("A2", name, f"a client was told {end}, and later {status}")
        if status in ENDED and not end:
            ends[name] = call.end, status
    for name, (_, end) in sorted(ends.items()):
        if name in final and final[name] != end and not resumed[name]:
            yield Breach("A2", name, f"a client was told {end}, it is {final[name]}")


def _end(item: ExperimentEvidence, expected: Expected, *, live: bool) -> Iterator[Breach]:
    if item.status not in ENDED:
        if expected.over:
            yield Breach("A2", item.id, f"it is still {item.status}")
        elif item.status == Status.RUNNING and not live:
            yield Breach("A2", item.id, "it is RUNNING and has no live Aggregator")
    if item.status == Status.FAILED and expected.all_finish:
        yield Breach("T", item.id, f"a fault ended it: {item.reason}")
    if item.status == Status.CANCELLED and item.id not in expected.cancelled:
        yield Breach("T", item.id, f"nobody cancelled it, and it is CANCELLED: {item.reason}")
    yield from _ends_told(item)


def _ends_told(item: ExperimentEvidence) -> Iterator[Breach]:
    *former, last = [_ends(life) for life in _lives(item)]
    if item.status in ENDED and not item.damage and last != [item.status]:
        yield Breach("A2", item.id, f"it is {item.status}, its history ends {last or 'never'}")
    for ends in former:
        if len(ends) != 1 or ends[0] not in RESUMABLE:
            yield Breach("A2", item.id, f"it was resumed, and before that it had ended {ends or 'never'}")


# ---- A3: rounds are written once, without gaps, and are what they say ---------------------------------------------


def _history(item: ExperimentEvidence) -> Iterator[Breach]:
    if item.damage:
        yield Breach("A3", item.id, f"its database is damaged: {item.damage}")
    numbers = [event.sequence for event in item.events]
    if numbers != list(range(1, len(numbers) + 1)):
        yield Breach("A3", item.id, f"its history has gaps: {numbers}")


def _rounds(item: ExperimentEvidence) -> Iterator[Breach]:
    rounds = [version.round for version in item.versions]
    if rounds != list(range(len(rounds))):
        yield Breach("A3", item.id, f"its rounds have gaps: {rounds}")
    committed = {version.round: version.digest for version in item.versions}
    finished = [(told.round, told.digest) for told in _of(item, RoundFinished)]
    for number, digest in finished:
        if committed.get(number) != digest:
            yield Breach("A3", item.id, f"round {number} was finished as {digest[:12]}, its row has another model")
    order = [number for number, _ in finished]
    if any(after <= before for before, after in pairwise(order)):
        yield Breach("A3", item.id, f"rounds were finished in the order {order}")


def _repeated(item: ExperimentEvidence) -> Iterator[Breach]:
    made: dict[int, set[str]] = {}
    for model in _of(item, ModelMade):
        made.setdefault(model.round, set()).add(model.digest)
    for number, digests in made.items():
        if len(digests) > 1 and _same_contributions(item, number):
            yield Breach("A3", item.id, f"round {number} was made again to another model")


def _models(item: ExperimentEvidence) -> Iterator[Breach]:
    rows = {version.round: version for version in item.versions}
    for number, file in sorted(item.models.items()):
        row = rows.get(number)
        if row is None:
            if item.status == Status.FINISHED:
                yield Breach("A3", item.id, f"the model of round {number} belongs to no round")
            continue
        if file.digest != row.digest:
            yield Breach("A3", item.id, f"the model of round {number} is {file.digest[:12]}, not {row.digest[:12]}")
        if row.sha256 and file.sha256 != row.sha256:
            yield Breach("A3", item.id, f"the model of round {number} has another SHA-256 than its row")
    if item.versions and item.status in ENDED and item.versions[-1].round not in item.models:
        yield Breach("A3", item.id, "the model of its last round is missing")
    if item.versions and item.status == Status.FINISHED and not item.versions[-1].sha256:
        yield Breach("A3", item.id, "it is FINISHED and its last row has no SHA-256")


# ---- A6: only the newest Aggregator commits -----------------------------------------------------------------------


def _epochs(item: ExperimentEvidence) -> Iterator[Breach]:
    """Every commit of an Aggregator has its epoch: they never fall, and none is of an epoch that nobody has taken."""
    if item.damage:
        return
    committed = [event for event in item.events if event.epoch]
    for before, after in pairwise(committed):
        if after.epoch < before.epoch:
            told = (
                f"event {after.sequence} is of epoch {after.epoch}, event {before.sequence} before it of {before.epoch}"
            )
            yield Breach("A6", item.id, told)
    for event in committed:
        if event.epoch > item.epoch:
            told = f"event {event.sequence} is of epoch {event.epoch}, the newest that was taken is {item.epoch}"
            yield Breach("A6", item.id, told)
    yield from _starts(item)
    yield from _published(item)


def _starts(item: ExperimentEvidence) -> Iterator[Breach]:
    starts = [(event.sequence, event.told.epoch) for event in item.events if isinstance(event.told, ExperimentBegun)]
    for (_, before), (sequence, after) in pairwise(starts):
        if after <= before:
            yield Breach("A6", item.id, f"event {sequence} starts epoch {after}, after epoch {before}")
    own = {event.sequence: event.epoch for event in item.events}
    for sequence, epoch in starts:
        if epoch > item.epoch or own[sequence] not in {0, epoch}:
            told = f"event {sequence} says epoch {epoch}; it is of {own[sequence]}, the newest is {item.epoch}"
            yield Breach("A6", item.id, told)


def _published(item: ExperimentEvidence) -> Iterator[Breach]:
    """A version is committed together with the event that its round is finished: by the same epoch."""
    finished = {event.told.round: event.epoch for event in item.events if isinstance(event.told, RoundFinished)}
    for version in item.versions:
        own = finished.get(version.round)
        if own is not None and version.epoch != own:
            told = f"round {version.round} is of epoch {version.epoch}, its event is of epoch {own}"
            yield Breach("A6", item.id, told)
    for before, after in pairwise(item.versions):
        if 0 < after.epoch < before.epoch:
            told = f"round {after.round} is of epoch {after.epoch}, the round before it of epoch {before.epoch}"
            yield Breach("A6", item.id, told)


# ---- A4, A5: who contributed, and the bits ------------------------------------------------------------------------


def _contributors(item: ExperimentEvidence) -> Iterator[Breach]:
    quorums = {told.round: told.quorum for told in _of(item, RoundStarted)}
    taken: set[tuple[int, str, str]] = set()
    for life in _lives(item):  # a round that was open begins anew when the experiment is resumed
        counts = Counter(_slot(event.told) for event in life if isinstance(event.told, UpdateReceived))
        damaged = (_slot(event.told) for event in life if isinstance(event.told, UpdateLost))  # on the disk
        counts.subtract(damaged)
        taken |= {slot for slot, count in counts.items() if count > 0}
        for (number, phase, name), count in sorted(counts.items()):
            if count > 1:
                yield Breach("A4", item.id, f"round {number}: the update of '{name}' ({phase}) was taken {count} times")
    made = {told.round: told for told in _of(item, ModelMade)}
    quorums |= {told.round: 0 for told in _of(item, RoundSkipped)}
    for number, names in contributions(item).items():
        if len(names) < quorums.get(number, 1):
            yield Breach("A4", item.id, f"round {number} has {len(names)} contributors, {quorums[number]} are needed")
        model = made.get(number)
        if model is not None and sorted(model.digests) != sorted(names):
            yield Breach("A4", item.id, f"round {number}: its contributors are not those whose updates were combined")
        missing = [name for name in names if (number, "train", name) not in taken and number]
        if missing:
            yield Breach("A4", item.id, f"round {number}: {', '.join(missing)} contributed and sent no update")


def _absences(item: ExperimentEvidence) -> Iterator[Breach]:
    """Who was selected contributed, or is named with a reason; and an experiment that lacked somebody says so."""
    lacking: set[str] = set()
    for told in _of(item, RoundFinished):
        explained = {name for name, failure in told.absent.items() if str(failure)}
        for name in sorted({*told.selected} - {*told.contributors, *told.evaluators} - explained):
            yield Breach("A4", item.id, f"round {told.round}: '{name}' was selected and is absent without a reason")
        if told.round:
            lacking |= {*told.absent, *told.unevaluated}
    for end in _of(item, ExperimentEnded)[-1:]:
        for name in sorted(lacking - {*end.shortfalls}):
            yield Breach("A4", item.id, f"'{name}' was missing in a round, and the end does not say so")


def _bits(item: ExperimentEvidence, expected: Expected) -> Iterator[Breach]:
    reference = expected.references.get(item.plan_digest)
    if reference is None or item.status != Status.FINISHED or not item.versions:
        return
    if not _same_cohorts(item, reference):
        return
    last = item.versions[-1]
    for where, found in (("its row", last.sha256), ("its file", _sha256_of(item, last.round))):
        if found != reference.sha256:
            yield Breach("A5", item.id, f"{where} has {found[:12]}, the undisturbed run has {reference.sha256[:12]}")


def _same_cohorts(item: ExperimentEvidence, reference: Reference) -> bool:
    """Round 0 is not looked at: the initial model comes from the plan's seed, whoever makes it."""
    return _trained(contributions(item)) == _trained(reference.contributors)


def _trained(cohorts: Mapping[int, tuple[str, ...]]) -> dict[int, tuple[str, ...]]:
    return {number: names for number, names in cohorts.items() if number}


def comparable(evidence: RunEvidence, expected: Expected) -> int:
    """Count the finished experiments whose bits were compared."""
    finished = [item for item in evidence.experiments if item.status == Status.FINISHED]
    return sum(
        item.plan_digest in expected.references and _same_cohorts(item, expected.references[item.plan_digest])
        for item in finished
    )


# ---- A7, A11 ------------------------------------------------------------------------------------------------------


def remains(strays: Sequence[Process], held: Sequence[int]) -> list[Breach]:
    """Return a breach for every process and port that a federation left behind."""
    found = [Breach("A7", f"process {one.pid}", f"it is still there: {one.command[:120]}") for one in strays]
    return found + [Breach("A7", f"port {port}", "somebody still listens on it") for port in held]


def _remains(evidence: RunEvidence) -> Iterator[Breach]:
    yield from remains(evidence.strays, evidence.held)
    for name in evidence.strangers:
        yield Breach("A7", name, "it belongs to no experiment and was not removed")


def _reason(item: ExperimentEvidence, expected: Expected) -> Iterator[Breach]:
    end = next(iter(_of(item, ExperimentEnded)[-1:]), None)
    if end is None:
        return  # see A2
    if item.status == Status.FAILED:
        failure = end.failure
        if failure is None or failure.kind is FailureKind.TOLD or not failure.said:
            yield Breach("A11", item.id, f"its end does not name component and cause: '{item.reason}'")
    elif item.status == Status.CANCELLED and item.id in expected.cancelled and not end.by:
        yield Breach("A11", item.id, f"its end does not say who cancelled it: '{item.reason}'")


# ---- reading events -----------------------------------------------------------------------------------------------


def _lives(item: ExperimentEvidence) -> list[list[Happened]]:
    """Return the events from the beginning to the first resumption, from there to the next, and so on."""
    lives: list[list[Happened]] = [[]]
    for event in item.events:
        if isinstance(event.told, ExperimentResumed):
            lives.append([])
        lives[-1].append(event)
    return lives


def _ends(life: Sequence[Happened]) -> list[str]:
    return [event.told.status.value for event in life if isinstance(event.told, ExperimentEnded)]


def _of(item: ExperimentEvidence, kind: type[Wanted]) -> list[Wanted]:
    return [event.told for event in item.events if isinstance(event.told, kind)]


def _slot(told: UpdateReceived | UpdateLost) -> tuple[int, str, str]:
    return told.round, told.phase.value, told.collaborator


def contributions(item: ExperimentEvidence) -> dict[int, tuple[str, ...]]:
    """Return who contributed to each finished round."""
    return {told.round: tuple(sorted(told.contributors)) for told in _of(item, RoundFinished)}


def _same_contributions(item: ExperimentEvidence, number: int) -> bool:
    sets = [told.digests for told in _of(item, ModelMade) if told.round == number]
    return all(digests == sets[0] for digests in sets)


def _sha256_of(item: ExperimentEvidence, number: int) -> str:
    file = item.models.get(number)
    return file.sha256 if file is not None else ""
