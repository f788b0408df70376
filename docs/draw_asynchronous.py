"""Draws docs/asynchronous.svg: the plan digits_devices in rounds, and buffered, over hours of virtual time.

    python docs/draw_asynchronous.py [FILE [HOURS]]

It runs ``fx simulate`` once for each way, for six virtual hours: a minute or two of this machine's time. Needs
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

HOURS = 6.0
PLAN = "digits_devices"
BUFFERED = "mode={template: buffered, settings: {buffer: 10, concurrency: 50}}"
WAYS = {
    "rounds of 2 min": ("deadline.round_s=120",),
    "rounds of 10 min": ("deadline.round_s=600",),
    "buffered, 10 of 50": ("deadline.round_s=60", "selector={template: all}", BUFFERED),
}
"""What changes the plan: 50 devices are asked for a round, and 50 train at any time."""
SMOOTHED = 0.5
"""Hours over which the thick line is a mean."""


@dataclass(slots=True)
class Course:
    """What a simulation came to, version by version.

    Attributes:
        way: How it was done.
        sha256: Of its last model.
        hours: When each version was made and measured, in virtual time.
        accuracy: Of the version.
        updates: How many updates had counted by then.
        heard: How many different devices had contributed by then.
    """

    way: str
    sha256: str = ""
    hours: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    updates: list[int] = field(default_factory=list)
    heard: list[int] = field(default_factory=list)


def simulated(changes: tuple[str, ...], hours: float) -> Iterator[dict[str, Any]]:
    """Run the plan for so many virtual hours, and yield the lines of its output."""
    ends = ("aggregator.settings.rounds_to_train=unlimited", f"stop.any=[{{wall_s: {hours * 3600:g}}}]")
    sample = "evaluation_selector={template: random, settings: {count: 100}}"
    settings = (word for change in (*ends, sample, *changes) for word in ("-s", change))
    command = [sys.executable, "-m", "openfl_like", "simulate", PLAN, "--json", *settings]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    yield from map(json.loads, run.stdout.splitlines())


def course_of(way: str, hours: float) -> Course:
    """Return the course of the plan, done in a way."""
    found, heard, updates = Course(way), set[str](), 0
    for line in simulated(WAYS[way], hours):
        match line:
            case {"kind": "round_finished", "time": float(time), "fields": {"metrics": {"accuracy": value}}}:
                heard.update(line["fields"]["contributors"])
                updates += len(line["fields"]["contributors"])
                found.hours.append(time / 3600)
                found.accuracy.append(value)
                found.updates.append(updates)
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
            times, values = np.array(course.hours), np.array(course.accuracy)
            means = [values[(times > time - SMOOTHED) & (times <= time)].mean() for time in times]
            accuracy.plot(times, values, color=hue, alpha=0.25, linewidth=0.8)
            accuracy.plot(times, means, color=hue, linewidth=1.8, label=course.way)
            heard.plot(times, course.heard, color=hue, linewidth=1.8)
        accuracy.set(ylabel="accuracy", ylim=(0, 1))
        heard.set(ylabel="devices that have contributed", ylim=(0, None))
        for axes in (accuracy, heard):
            axes.set(xlabel="virtual hours", xlim=(0, hours))
            axes.grid(visible=True)
        accuracy.legend(loc="lower right")
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Run, draw, and say which models were made."""
    path = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("asynchronous.svg")
    hours = float(sys.argv[2]) if sys.argv[2:] else HOURS
    courses = [course_of(way, hours) for way in WAYS]
    for course in courses:
        figures = f"{len(course.hours):>4} versions  {course.updates[-1]:>5} updates  {course.heard[-1]:>4} devices"
        sys.stdout.write(f"{course.way:<20} {figures}  {course.sha256}\n")
    draw(courses, path, hours)


if __name__ == "__main__":
    main()
