"""Wall clocks that are wrong, or step while a process runs: for one process of several, without the machine's help."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openfl_like.processes.child import FURTHER_NAMES

WALL_CLOCK = "OPENFL_LIKE_WALL_CLOCK"
"""Names the file by which clocks are shifted."""
FOLDER = Path(__file__).with_name("shifted")


@dataclass(frozen=True, slots=True)
class WallClocks:
    """The wall clocks of Python processes that were started with `environment`.

    Args:
        control: A file that says what is shifted; it may change at any time.
    """

    control: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs for it; its children have the clocks, too."""
        path = filter(None, (os.environ.get("PYTHONPATH"), str(FOLDER)))
        passed_on = ",".join(("PYTHONPATH", WALL_CLOCK))
        return {"PYTHONPATH": os.pathsep.join(path), WALL_CLOCK: str(self.control), FURTHER_NAMES: passed_on}

    def set(self, shifts: Mapping[str, float]) -> None:
        """Set all clocks.

        Args:
            shifts: Words that a process must all have in its command line, and its shift in seconds; for example
                ``{"director start": 3600}``. Whoever is not named has the right time.
        """
        lines = "".join(f"{words} {seconds}\n" for words, seconds in shifts.items())
        part = self.control.with_name(f"{self.control.name}.part")
        part.write_text(lines, encoding="utf-8")
        part.replace(self.control)
