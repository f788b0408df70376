"""Draws docs/virtual-time.svg: the plan digits_devices with three deadlines, over hours of virtual time.

    python docs/draw_virtual_time.py [FILE [HOURS]]

It runs ``fx simulate`` once for each deadline, for twelve virtual hours: a minute or two of this machine's time. Needs
matplotlib.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from openfl_like.drawing.style import HUES, STYLE

DEADLINES_S = (120, 600, 1800)
HOURS = 12
PLAN = "digits_devices"
SMOOTHED = 1.0
"""Hours over which the thick line is a mean."""


@dataclass(slots=True)
class Course:
    """What a simulation came to, round by round.

    Attributes:
        deadline_s: Of its rounds.
        sha256: Of its last model.
        hours: When each round was done, in virtual time.
        accuracy: Of the round's model.
        heard: How many different devices had contributed by then.
    """

    deadline_s: int
    sha256: str = ""
    hours: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    heard: list[int] = field(default_factory=list)


def simulated(deadline_s: int, hours: float) -> Iterator[dict[str, Any]]:
    """Run the plan with a deadline, for as many rounds as may be needed, and yield the lines of its output."""
    rounds = max(1, round(hours * 3600 / deadline_s))
    changes = (f"deadline.round_s={deadline_s}", f"aggregator.settings.rounds_to_train={rounds}")
    words = ["simulate", PLAN, "--json", *(word for change in changes for word in ("-s", change))]
    command = [sys.executable, "-m", "openfl_like", *words]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    yield from map(json.loads, run.stdout.splitlines())


def course_of(deadline_s: int, hours: float) -> Course:
    """Return the course of the plan with a deadline, over so many virtual hours."""
    found, heard = Course(deadline_s), set[str]()
    for line in simulated(deadline_s, hours):
        match line:
            case {"kind": "round_finished", "time": float(time), "fields": {"metrics": {"accuracy": value}}}:
                heard.update(line["fields"]["contributors"])
                if time <= max(hours * 3600, deadline_s * 3):
                    found.hours.append(time / 3600)
                    found.accuracy.append(value)
                    found.heard.append(len(heard))
            case {"kind": "result", "sha256": str(sha256)}:
                found.sha256 = sha256
    return found


def draw(courses: list[Course], path: Path, hours: float) -> None:
    """Draw accuracy, and how many devices had a say in it."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        accuracy, heard = figure.subplots(1, 2, width_ratios=[3, 2])
        for course, hue in zip(courses, HUES, strict=False):
            label = f"{course.deadline_s / 60:g} min"
            times, values = np.array(course.hours), np.array(course.accuracy)
            means = [values[(times > time - SMOOTHED) & (times <= time)].mean() for time in times]
            accuracy.plot(times, values, color=hue, alpha=0.3, linewidth=0.8)
            accuracy.plot(times, means, color=hue, linewidth=1.8, label=label)
            heard.plot(times, course.heard, color=hue, linewidth=1.8, label=label)
        accuracy.set(ylabel="accuracy", ylim=(0, 1))
        heard.set(ylabel="devices that have contributed", ylim=(0, None))
        for axes in (accuracy, heard):
            axes.set(xlabel="virtual hours", xlim=(0, hours))
            axes.locator_params(axis="x", steps=[3, 6])
            axes.grid(visible=True)
        accuracy.legend(title="deadline of a phase", loc="lower right")
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Run, draw, and say which models were made."""
    path = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("virtual-time.svg")
    hours = float(sys.argv[2]) if sys.argv[2:] else HOURS
    courses = [course_of(deadline_s, hours) for deadline_s in DEADLINES_S]
    for course in courses:
        figures = f"{len(course.hours):>4} rounds  {course.heard[-1]:>4} devices"
        sys.stdout.write(f"{course.deadline_s:>5} s  {figures}  {course.sha256}\n")
    draw(courses, path, hours)


if __name__ == "__main__":
    main()
