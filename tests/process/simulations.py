"""Simulations as child processes, for the runtimes that have workers elsewhere."""

import re
import shutil
from pathlib import Path

import pytest
from federations import OBEDIENT

from openfl_like.processes.child import Child

TEMPLATE = Path(__file__).parents[2] / "workspace_templates" / "numpy_breast_cancer"
KINDS = {
    "scored": ("-s", "cross_evaluation={metric: loss, margin: 0.01, result: reweigh}"),
    "fedavg": (),
    "fedprox and fedavgm": (
        "-s",
        "algorithm.template=fedprox",
        "-s",
        "algorithm.settings.mu=0.1",
        "-s",
        "server_optimizer.template=fedavgm",
    ),
    "median": (
        *("-s", "aggregation.template=median"),
        *("-s", "collaborator.settings.opt_treatment=CONTINUE_LOCAL"),
    ),
    "all that can be kept": (
        *("-s", "algorithm.template=scaffold"),
        *("-s", "server_optimizer.template=fedadam"),
        *("-s", "collaborator.settings.opt_treatment=CONTINUE_LOCAL"),
        *("-s", "selector={template: power_of_choice, settings: {candidates: 3, count: 2}}"),
        *("-s", "aggregation.rules=[{match: '*bias', rule: local}]"),
    ),
    "mime and controllers": (
        *("-s", "algorithm.template=mime"),
        "-s",
        "controllers=[{template: fair_weights}, {template: schedule, settings: {argument: epochs, shape: linear, "
        "first: 3, last: 1, whole: true}}]",
    ),
}
"""Name -> what a plan is changed by."""
KEEPING = {"all that can be kept", "median"}
"""Those in which something is kept at the sites."""
SAMPLED = [
    pytest.param(kind, marks=[] if kind in {"all that can be kept", "fedprox and fedavgm"} else [pytest.mark.long])
    for kind in KINDS
]
"""All of them; two come in every sample."""


async def lines_of(child: Child) -> list[str]:
    """What it prints, to its end."""
    lines = []
    while line := await child.line():
        lines.append(line)
    return lines


def digest_in(output: str) -> str:
    """The model's SHA-256; it is told once, by whichever process."""
    found = re.findall(r"^sha256 +(\w+)$", output, re.MULTILINE)
    assert len(found) == 1, output
    return str(found[0])


def slow_workspace(place: Path) -> Path:
    """A workspace whose second round takes an hour as long as there is the file ``wait`` beside it; gives its plan."""
    ignored = shutil.ignore_patterns("__pycache__", "hanging*", "raising*", "escap*")
    shutil.copytree(OBEDIENT, place, ignore=ignored)
    code, line = place / "src" / "obedient.py", "        self._vector += ("
    text = code.read_text().replace("def train(self)", "def train(self, round)")
    wait = "        import pathlib, time\n        while round > 1 and pathlib.Path({0!r}).exists(): time.sleep(0.1)\n"
    code.write_text(text.replace(line, wait.format(str(place.parent / "wait")) + line))
    return place / "plan.yaml"


INVENTED = """
name: invented
seed: 7
aggregator: {settings: {rounds_to_train: 3}}
task_runner: {template: src.breast_cancer:BreastCancerRunner}
data_loader: {template: numpy}
tasks: {train: {function: train}, validate: {function: validate}}
simulation:
  sites:
    count: 5
    each: {template: synthetic, params: {classes: 2, samples: 40, features: 8}}
"""


def invented_workspace(place: Path, waits_for: Path | None = None) -> Path:
    """A workspace whose plan makes five sites; gives the plan.

    Args:
        place: Where it goes.
        waits_for: A file that is made when a site trains in the second round, and that its training ends with.
    """
    shutil.copytree(TEMPLATE, place, ignore=shutil.ignore_patterns("__pycache__", "shards"))
    (place / "plan.yaml").write_text(INVENTED)
    if waits_for is not None:
        code = place / "src" / "breast_cancer.py"
        code.write_text(f"{code.read_text()}{WAITS.format(str(waits_for))}")
    return place / "plan.yaml"


WAITS = """
    def train(self, round, epochs=1):
        import pathlib, time
        here = pathlib.Path({0!r})
        if round == 2 and not here.with_suffix(".done").exists():
            here.touch()
            while here.exists():
                time.sleep(0.05)
        return super().train(epochs)
"""
