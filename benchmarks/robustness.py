"""Attacks against rules and validators: handwritten digits at eleven sites, two of which are dishonest.

Every run is a whole experiment in this process: the experiment's own state machine, validators, rules and record, with
updates as files. The figures are a function of the seed and of the processor's arithmetic.

Example: python benchmarks/robustness.py --write docs/robustness.md
"""

import argparse
import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from openfl_like.data.builtin import DigitsShard
from openfl_like.federation.announcements import Announced, RoundFinished, only
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.federation.validation.verdict import UpdatesJudged, UpdateVerdict
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.local import LocalRuntime
from openfl_like.runtimes.loop import ExperimentLoop, SystemClock
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.recorder import Record
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.manifest import file_digest
from openfl_like.testing.stores import MemoryExperimentStore

SITES, ATTACKERS = 11, ("site-10", "site-11")
TRUSTED = "site-01"
HIDDEN, BATCH, RATE = 32, 16, 0.3
ROUNDS = 60
INFLATED = 1_000_000
FLIPPED = 10.0
LIMIT = 2.0
"""Points of accuracy that a defence may lose against a run without attackers."""
BEGIN, END = "<!-- figures: written by benchmarks/robustness.py -->", "<!-- end of figures -->"

Tensors = dict[str, npt.NDArray[np.float32]]


class Attack(StrEnum):
    """What the two dishonest sites do.

    Attributes:
        NONE: They are honest.
        SIGN_FLIP: They send the global model less ten times what they have learnt.
        NAN: One element of their models is NaN.
        SAMPLES: They train on wrong labels, and claim a million samples.
        LABEL_FLIP: They train on wrong labels: 9 - y in place of y.
        DRIFT: They add to what they have learnt half as much again, the same to every weight, in every round.
    """

    NONE = "no attack"
    SIGN_FLIP = "sign flip, 10 times"
    NAN = "NaN"
    SAMPLES = "inflated samples"
    LABEL_FLIP = "label flip"
    DRIFT = "drift"


CLAIMED = (Attack.SIGN_FLIP, Attack.NAN, Attack.SAMPLES)
"""What the documentation says of the rules that withstand dishonest sites."""


@dataclass(frozen=True, slots=True)
class Defence:
    """Parts of a plan that are to withstand attacks.

    Attributes:
        parts: Sections of the plan.
        claims: What the documentation says that they withstand.
    """

    parts: Mapping[str, object]
    claims: Sequence[Attack] = CLAIMED


FINITE = ({"template": "schema"}, {"template": "finite"})


def rule(template: str, **settings: object) -> Defence:
    """Return the defence by a rule."""
    return Defence({"aggregation": {"template": template, "settings": settings}})


def validators(*parts: Mapping[str, object], claims: Sequence[Attack], **sections: object) -> Defence:
    """Return the defence by validators before the plain mean."""
    return Defence({"validator": [*FINITE, *parts], **sections}, claims)


NORM_CLIP = {"template": "norm", "settings": {"multiple": 1, "above": "clip"}}
COSINE = {"template": "cosine"}
CAP, DROP = {"multiple": 1}, {"multiple": 2, "above": "drop"}
LONG = (Attack.SIGN_FLIP, Attack.NAN)
DEFENCES: dict[str, Defence] = {
    "plain mean, no validator": Defence({"validator": []}, ()),
    "plain mean (`schema`, `finite`)": Defence({}, (Attack.NAN,)),
    "`trimmed_mean`, fraction 0.2": rule("trimmed_mean", fraction=0.2),
    "`median`": rule("median"),
    "`geometric_median`": rule("geometric_median"),
    "`krum`, fraction 0.2": rule("krum", fraction=0.2),
    "`multi_krum`, fraction 0.2": rule("multi_krum", fraction=0.2),
    "`bulyan`, fraction 0.2": rule("bulyan", fraction=0.2),
    "`norm_bounded_mean`": rule("norm_bounded_mean"),
    "`centered_clipping`, radius 0.3": rule("centered_clipping", radius=0.3, iterations=3),
    "`fltrust`": rule("fltrust", trusted=TRUSTED),
    "validator `norm`, multiple 3": validators({"template": "norm"}, claims=LONG),
    "validator `norm`, multiple 1, clip": validators(NORM_CLIP, claims=LONG),
    "validator `z_score`": validators({"template": "z_score"}, claims=LONG),
    "validator `cosine`": validators(COSINE, claims=(Attack.NAN,)),
    "`sample_limit`, multiple 1, cap": validators(claims=(Attack.NAN,), sample_limit=CAP),
    "`sample_limit`, multiple 2, drop": validators(claims=(Attack.NAN, Attack.SAMPLES), sample_limit=DROP),
    "`norm` clip, `cosine`, `sample_limit` cap": validators(NORM_CLIP, COSINE, claims=CLAIMED, sample_limit=CAP),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an experiment.

    Attributes:
        accuracy: Percent of the held-out samples of all sites that the last model names rightly; None: it failed.
        verdicts: All that were given, with their rounds.
        dropped: Round and site of every update that did not count -> the reason.
        reason: Why it ended.
    """

    accuracy: float | None
    verdicts: Sequence[tuple[int, UpdateVerdict]]
    dropped: Mapping[tuple[int, str], str]
    reason: str


@dataclass(slots=True)
class Site:
    """A site with its part of the digits: a network with one hidden layer, trained for an epoch a round.

    Attributes:
        name: Its name.
        attack: What it does; it is honest unless it is one of `ATTACKERS`.
        samples: Float32 [N, 64], trained on.
        targets: Int64 [N].
    """

    name: str
    attack: Attack
    samples: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.wrong = 9 - self.targets

    def perform(self, assignment: Assignment, model: Path | None, out: Path) -> Update:
        """Make the initial model, or train."""
        base = initial(assignment.seed) if model is None else read_tensors(model)
        made, claimed = base, len(self.samples)
        if assignment.phase is Phase.TRAIN:
            attack = self.attack if self.name in ATTACKERS else Attack.NONE
            lies = attack in {Attack.SAMPLES, Attack.LABEL_FLIP}
            made = trained(base, self.samples, self.wrong if lies else self.targets, assignment.seed)
            made = disturbed(base, made, attack)
            claimed = INFLATED if attack is Attack.SAMPLES else claimed
        write_tensors(out, made, sync=False)
        key = assignment.round, assignment.phase, assignment.collaborator
        return Update(*key, file_digest(out), claimed)


def disturbed(base: Tensors, made: Tensors, attack: Attack) -> Tensors:
    """Return what a dishonest site sends in place of what it has learnt."""
    if attack is Attack.SIGN_FLIP:
        return {name: base[name] - np.float32(FLIPPED) * (made[name] - base[name]) for name in base}
    if attack is Attack.NAN:
        broken = {name: tensor.copy() for name, tensor in made.items()}
        broken["out.bias"][0] = np.nan
        return broken
    if attack is Attack.DRIFT:
        length = np.sqrt(sum(float(np.square(made[name] - base[name], dtype=np.float64).sum()) for name in base))
        each = np.float32(0.5 * length / np.sqrt(sum(tensor.size for tensor in base.values())))
        return {name: made[name] + each for name in base}
    return made


def initial(seed: int) -> Tensors:
    """Return a network that has learnt nothing."""
    draw = np.random.default_rng(seed)
    return {
        "hidden.bias": np.zeros(HIDDEN, np.float32),
        "hidden.weight": (draw.normal(size=(64, HIDDEN)) / 8).astype(np.float32),
        "out.bias": np.zeros(10, np.float32),
        "out.weight": (draw.normal(size=(HIDDEN, 10)) / np.sqrt(HIDDEN)).astype(np.float32),
    }


def trained(base: Tensors, samples: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], seed: int) -> Tensors:
    """Train for an epoch, by stochastic gradient descent on the cross-entropy."""
    model = {name: tensor.copy() for name, tensor in base.items()}
    order = np.random.default_rng(seed).permutation(len(samples))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        inputs = samples[rows]
        hidden = np.maximum(inputs @ model["hidden.weight"] + model["hidden.bias"], 0)
        scores = hidden @ model["out.weight"] + model["out.bias"]
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        shares[np.arange(len(rows)), targets[rows]] -= 1
        shares /= len(rows)
        back = (shares @ model["out.weight"].T) * (hidden > 0)
        model["out.weight"] -= RATE * (hidden.T @ shares)
        model["out.bias"] -= RATE * shares.sum(axis=0)
        model["hidden.weight"] -= RATE * (inputs.T @ back)
        model["hidden.bias"] -= RATE * back.sum(axis=0)
    return model


def accuracy(model: Tensors, samples: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> float:
    """Return percent of the samples that a model names rightly."""
    hidden = np.maximum(samples @ model["hidden.weight"] + model["hidden.bias"], 0)
    scores = hidden @ model["out.weight"] + model["out.bias"]
    return 100.0 * float((scores.argmax(axis=1) == targets).mean())


@dataclass(frozen=True, slots=True)
class Digits:
    """The parts of eleven sites, and all that is held out."""

    parts: Mapping[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]
    held_out: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def dealt() -> Digits:
    """Deal the digits out, independently and identically distributed."""
    shards = {f"site-{number:02}": DigitsShard(number, SITES) for number in range(1, SITES + 1)}
    parts = {name: arrays_of(shard, "train") for name, shard in shards.items()}
    held = [arrays_of(shard, "validate") for shard in shards.values()]
    return Digits(parts, (np.concatenate([each[0] for each in held]), np.concatenate([each[1] for each in held])))


def arrays_of(shard: DigitsShard, kind: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the images of a shard as rows, and their digits."""
    data = shard.get_dataset(kind)
    return data.samples.reshape(len(data.samples), -1), data.targets


def plan_of(defence: Defence, rounds: int, seed: int) -> Plan:
    """Return the plan of an experiment with a defence."""
    return Plan.model_validate(
        {
            "name": "robustness",
            "seed": seed,
            "aggregator": {"settings": {"rounds_to_train": rounds}},
            "task_runner": {"template": "src.digits:Runner"},
            "data_loader": {"template": "numpy"},
            "tasks": {"train": {"function": "train"}},
            "participation": {"policy": "quorum", "min_updates": 1},
            **defence.parts,
        }
    )


async def _run(plan: Plan, digits: Digits, attack: Attack, folder: Path) -> Result:
    files = ExperimentFiles(folder)
    files.prepare()
    repository, told = ModelRepository(plan, files), list[Announced]()
    sites = {name: Site(name, attack, *part) for name, part in digits.parts.items()}
    experiment = Experiment("robustness", plan, tuple(sites))
    record = Record(MemoryExperimentStore(), repository, told.extend)
    runtime = LocalRuntime(sites, sites.__getitem__, repository)
    outcome = await ExperimentLoop(experiment, runtime, record, SystemClock()).run()
    reached = None
    if outcome.status is Status.FINISHED:
        reached = accuracy(read_tensors(repository.path(experiment.versions[-1].digest)), *digits.held_out)
    verdicts = [(one.round, verdict) for one in only(told, UpdatesJudged) for verdict in one.verdicts]
    dropped = {(one.round, name): str(why) for one in only(told, RoundFinished) for name, why in one.absent.items()}
    return Result(reached, verdicts, dropped, outcome.reason)


def run(defence: Defence, attack: Attack, digits: Digits, rounds: int = ROUNDS, seed: int = 0) -> Result:
    """Run one experiment, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_run(plan_of(defence, rounds, seed), digits, attack, Path(folder)))


def table(results: Mapping[str, Mapping[Attack, Result]]) -> str:
    """Return the figures as Markdown; what a defence claims to withstand is bold, or struck if it does not."""
    lines = ["| defence | " + " | ".join(Attack) + " |", "|---|" + "---:|" * len(Attack)]
    for name, row in results.items():
        clean = row[Attack.NONE].accuracy
        cells = [_cell(row[attack], attack in DEFENCES[name].claims, clean) for attack in Attack]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(result: Result, claimed: bool, clean: float | None) -> str:  # noqa: FBT001 - a column of the table
    if result.accuracy is None:
        return "ends"
    text = f"{result.accuracy:.1f}"
    if not claimed:
        return text
    return f"**{text}**" if holds(result, clean) else f"~~{text}~~"


def holds(result: Result, clean: float | None) -> bool:
    """Whether a run has lost no more than `LIMIT` points against the one without attackers."""
    return result.accuracy is not None and clean is not None and result.accuracy >= clean - LIMIT


def main() -> int:
    """Run everything, print the table or put it into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="page to put the table into, between its marks")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    digits, results, broken = dealt(), dict[str, dict[Attack, Result]](), list[str]()
    for name, defence in DEFENCES.items():
        results[name] = {attack: run(defence, attack, digits, given.rounds) for attack in Attack}
        clean = results[name][Attack.NONE].accuracy
        broken += [f"{name}: {attack}" for attack in defence.claims if not holds(results[name][attack], clean)]
        print(table({name: results[name]}).splitlines()[-1], flush=True)
    if given.write is not None:
        before, _, rest = given.write.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        given.write.write_text(f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}")
    for each in broken:
        print(f"does not withstand what it claims to: {each}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
