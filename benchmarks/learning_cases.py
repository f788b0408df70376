"""What docs/learning.md compares: three cases, fourteen methods, six settings of each, and the studies of these."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import yaml

PLANS = Path(__file__).parent / "learning_plans"
GRID = 6
"""Settings that are tried of every method."""
SINGLE = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Learning rates of a site, of methods that have nothing else to tune."""
RATES = (0.2, 0.4, 0.8)
"""The same, of methods that have: each is tried with two values of that."""
SMALL_RATES = (0.02, 0.05, 0.1)
"""The same, of those whose steps follow a direction that is kept for a round: larger ones run away with the digits."""
RESULT_SEEDS = (11, 12, 13, 14, 15)
SPLIT = "simulation.sites.shard.params.seed"
RATE = "task_runner.settings.lr"

Changes = dict[str, object]
"""Key of the plan -> value."""


class Stage(StrEnum):
    """What a run is for: to choose settings, or for the result."""

    TUNING = "tuning"
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class Case:
    """A federation.

    Attributes:
        name: What it is called; its plan is the file of that name.
        title: The same for people.
        seeded: The key of the plan that is another one in each repetition.
        tuned_with: Values of that key when settings are chosen; none of them is one of `RESULT_SEEDS`.
        target: Accuracy to which rounds are counted.
        chance: Accuracy of whoever always names the commonest label.
    """

    name: str
    title: str
    seeded: str
    tuned_with: Sequence[int]
    target: float
    chance: float

    @property
    def plan(self) -> Path:
        """Its plan."""
        return PLANS / f"{self.name}.yaml"


CASES = (
    Case("dirichlet", "Digits, Dirichlet 0.1: 20 sites, 10 of them a round", "seed", (1,), 0.9, 0.1),
    Case("labels", "Digits, two labels a site: 10 sites, all of them", "seed", (1,), 0.8, 0.1),
    Case("hospitals", "Heart disease: four hospitals, all of them", SPLIT, (1, 2), 0.8, 0.553),
)


@dataclass(frozen=True, slots=True)
class Method:
    """An algorithm, or a server optimizer, or layers that stay at their sites.

    Attributes:
        name: What it is called.
        settings: What is tried: a name, and what is changed in the plan; `GRID` of them.
    """

    name: str
    settings: Mapping[str, Changes]


def _single(name: str, **changes: object) -> Method:
    fixed = {key.replace("__", "."): value for key, value in changes.items()}
    return Method(name, {f"lr={rate}": {RATE: rate, **fixed} for rate in SINGLE})


def _paired(
    name: str,
    section: str,
    template: str,
    key: str,
    *others: Mapping[str, float],
    rates: Sequence[float] = RATES,
) -> Method:
    """Return a method whose section of the plan has settings of its own, of which the one called `key` is shown."""
    tried = {}
    for rate in rates:
        for own in others:
            changes: Changes = {RATE: rate, section: {"template": template, "settings": dict(own)}}
            tried[f"lr={rate} {key}={own[key]}"] = changes
    return Method(name, tried)


_NORM = {"task_runner__settings__batch_norm": True}
_ADAPTIVE = ({"learning_rate": 0.01}, {"learning_rate": 0.1})
METHODS = (
    _single("FedAvg"),
    _paired("FedProx", "algorithm", "fedprox", "mu", {"mu": 0.1}, {"mu": 1.0}),
    _paired(
        "FedAvgM", "server_optimizer", "fedavgm", "momentum",
        {"momentum": 0.5, "learning_rate": 1.0}, {"momentum": 0.9, "learning_rate": 0.3},
    ),
    _paired("FedAdagrad", "server_optimizer", "fedadagrad", "learning_rate", *_ADAPTIVE),
    _paired("FedAdam", "server_optimizer", "fedadam", "learning_rate", *_ADAPTIVE),
    _paired("FedYogi", "server_optimizer", "fedyogi", "learning_rate", *_ADAPTIVE),
    _single("SCAFFOLD", algorithm={"template": "scaffold"}),
    _paired("FedDyn", "algorithm", "feddyn", "alpha", {"alpha": 0.01}, {"alpha": 0.1}),
    _single("FedNova", algorithm={"template": "fednova"}),
    _paired("Mime", "algorithm", "mime", "momentum", {"momentum": 0.0}, {"momentum": 0.9}, rates=SMALL_RATES),
    _paired("MimeLite", "algorithm", "mimelite", "momentum", {"momentum": 0.5}, {"momentum": 0.9}, rates=SMALL_RATES),
    _paired("Per-FedAvg", "algorithm", "per_fedavg", "alpha", {"alpha": 0.01}, {"alpha": 0.1}),
    _single("FedAvg, batch norm", **_NORM),
    _single("FedBN", aggregation={"rules": [{"match": "norm.*", "rule": "local"}]}, **_NORM),
)  # fmt: skip


def level_name(method: Method, settings: str = "") -> str:
    """Return what a method, or one of its settings, is called in a study."""
    return f"{method.name} {settings}".replace(",", "").strip()


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of it is run.

    Attributes:
        settings: How many settings of each method are tried.
        seeds: Of the result.
        rounds: So many instead of those of the plans; 0: those of the plans.
    """

    settings: int = GRID
    seeds: Sequence[int] = RESULT_SEEDS
    rounds: int = 0


WHOLE, SAMPLE = Extent(), Extent(settings=1, seeds=RESULT_SEEDS[:2], rounds=2)


def tried(extent: Extent = WHOLE) -> dict[str, tuple[Method, str]]:
    """Return what a setting is called in a study -> the method, and the setting's own name."""
    return {
        level_name(method, name): (method, name)
        for method in METHODS
        for name in list(method.settings)[: extent.settings]
    }


def tuning_study(case: Case, extent: Extent = WHOLE) -> dict[str, object]:
    """Return the study that tries the settings of every method."""
    variants = {level: method.settings[name] for level, (method, name) in tried(extent).items()}
    return _study(case, f"tune_{case.name}", variants, case.tuned_with, extent)


def result_study(case: Case, chosen: Mapping[str, str], extent: Extent = WHOLE) -> dict[str, object]:
    """Return the study of the result.

    Args:
        case: The federation.
        chosen: Name of a method -> name of its settings.
        extent: How much of it is run.
    """
    variants = {level_name(method): method.settings[chosen[method.name]] for method in METHODS}
    return _study(case, f"learning_{case.name}", variants, extent.seeds, extent)


def _study(
    case: Case, name: str, variants: Mapping[str, Changes], seeds: Sequence[int], extent: Extent
) -> dict[str, object]:
    by_seed = case.seeded == "seed"
    fixed: Changes = {"seed": seeds[0]} if by_seed else {}
    if extent.rounds:
        fixed["aggregator.settings.rounds_to_train"] = extent.rounds
    sweep: dict[str, object] = {"method": {"variants": dict(variants)}}
    if not by_seed:
        sweep["split"] = {"key": case.seeded, "values": list(seeds)}
    study: dict[str, object] = {"name": name, "plan": case.plan.name if extent is WHOLE else str(case.plan)}
    study |= {"set": fixed} if fixed else {}
    return {**study, "metric": "accuracy", "repetitions": len(seeds) if by_seed else 1, "sweep": sweep}


def study_path(case: Case, stage: Stage) -> Path:
    """Return where a study is."""
    return PLANS / f"{case.name}_{stage}.yaml"


def study_text(study: Mapping[str, object]) -> str:
    """Return a study as it is written, with a line that says who has written it."""
    apart = json.loads(json.dumps(study))  # a value that is there twice is no alias of YAML, which studies refuse
    return "# Written by benchmarks/learning.py.\n" + yaml.safe_dump(apart, sort_keys=False, width=120)
