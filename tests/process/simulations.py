"""Simulations as child processes, for the runtimes that have workers elsewhere."""

import re
import shutil
from pathlib import Path

from federations import OBEDIENT

from openfl_like.processes.child import Child

KINDS = {
    "fedavg": (),
    "fedprox and fedavgm": (
        "-s",
        "algorithm.template=fedprox",
        "-s",
        "algorithm.settings.mu=0.1",
        "-s",
        "server_optimizer.template=fedavgm",
    ),
    "median": ("-s", "aggregation.template=median"),
}
"""Name -> what a plan is changed by."""


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
