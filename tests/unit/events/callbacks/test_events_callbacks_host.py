"""Callbacks in processes of their own: fed, and ended when they do what none may do."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from openfl_like.events.bus import EventBus
from openfl_like.events.callbacks.host import COMMAND, CallbackHost, CallbackLimits, CallbackPlace, folder_names
from openfl_like.events.callbacks.orders import CodeOfCallbacks
from openfl_like.federation.announcements import Announced, ExperimentBegun, ExperimentEnded, ExperimentResumed
from openfl_like.federation.callback_end import CallbackEnd, CallbackEnded
from openfl_like.federation.status import Status
from openfl_like.plan.section import Component
from openfl_like.processes.sandbox.confinement import available
from tests.unit.events.callbacks.callback_histories import EPOCH, history_of, numbered, round_of

SAVE = Component(template="save")
HANGS = (sys.executable, "-c", "import time; time.sleep(600)")
DIES = (sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); raise SystemExit(3)")
FILLS = (
    sys.executable,
    "-c",
    "import json, pathlib, sys, time; order = json.loads(sys.stdin.readline())\n"
    "folder = pathlib.Path(order['directory']); folder.mkdir(parents=True)\n"
    "for number in range(100): (folder / str(number)).write_bytes(bytes(1000))\n"
    "time.sleep(600)",
)
FLOODS = (
    sys.executable,
    "-c",
    "import json, pathlib, sys, time; order = json.loads(sys.stdin.readline())\n"
    "folder = pathlib.Path(order['directory']); folder.mkdir(parents=True)\n"
    "for number in range(5000): (folder / str(number)).touch()\n"
    "time.sleep(600)",
)
HIDES = (
    sys.executable,
    "-c",
    "import json, os, pathlib, sys; order = json.loads(sys.stdin.readline())\n"
    "folder = pathlib.Path(order['directory']); folder.mkdir(parents=True)\n"
    "file = (folder / 'ghost').open('wb'); (folder / 'ghost').unlink()\n"
    "os.posix_fallocate(file.fileno(), 0, 100_000)\n"
    "for line in sys.stdin: print('{}', flush=True)",  # it answers in time
)
MAPS = (
    sys.executable,
    "-c",
    "import json, mmap, os, pathlib, sys, time; order = json.loads(sys.stdin.readline())\n"
    "folder = pathlib.Path(order['directory']); folder.mkdir(parents=True)\n"
    "(folder / 'ghost').write_bytes(bytes(100_000))\n"
    "with (folder / 'ghost').open('r+b') as file: held = mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_READ)\n"
    "(folder / 'ghost').unlink()\n"
    "time.sleep(600)",
)


async def run(
    tmp_path: Path,
    *callbacks: Component,
    history: Sequence[Announced] | None = None,
    limits: CallbackLimits | None = None,
    command: Sequence[str] = COMMAND,
    code: CodeOfCallbacks | None = None,
) -> list[CallbackEnded]:
    """Have callbacks take a history to its end, and return which were ended."""
    told: list[CallbackEnded] = []
    events = history_of(3) if history is None else history
    bus = EventBus(lambda after: list(events[after:]))
    place = CallbackPlace(tmp_path, tmp_path / "results", code)
    host = CallbackHost(callbacks, place, bus, EPOCH, told.append, limits or CallbackLimits(), command)
    host.start()
    await host.finish()
    assert told == host.ended
    return told


def test_each_has_a_folder_of_its_own() -> None:
    plot = Component(template="plot")
    assert folder_names([SAVE, plot, SAVE, SAVE]) == ["save", "plot", "save-2", "save-3"]
    assert folder_names([Component(template="src.mine:Mine"), Component(template="a:Mine")]) == ["Mine", "Mine-2"]


@pytest.mark.children
async def test_they_write_and_end_with_the_experiment(tmp_path: Path) -> None:
    assert await run(tmp_path, SAVE, Component(template="timer")) == []
    assert (tmp_path / "results/save/metrics.csv").read_text().count("\n") == 10
    assert (tmp_path / "results/timer/rounds.csv").read_text().count("\n") == 4


@pytest.mark.children
async def test_a_former_end_is_not_the_end(tmp_path: Path) -> None:
    before = (ExperimentBegun(epoch=EPOCH - 1), *round_of(1), ExperimentEnded(Status.CANCELLED))
    after = (ExperimentResumed("ada"), ExperimentBegun(epoch=EPOCH), *round_of(2), ExperimentEnded(Status.FINISHED))
    assert await run(tmp_path, SAVE, history=numbered(*before, *after)) == []
    rows = (tmp_path / "results/save/metrics.csv").read_text().splitlines()
    assert [row[0] for row in rows] == ["r", "1", "1", "1", "2", "2", "2"]


@pytest.mark.children
async def test_one_that_raises_is_ended_and_the_others_go_on(tmp_path: Path) -> None:
    wrong = Component(template="save", settings={"formats": ["scroll"]})
    (ended,) = await run(tmp_path, wrong, SAVE)
    assert (ended.callback, ended.end) == ("save", CallbackEnd.RAISED)
    assert "scroll" in ended.message
    assert (tmp_path / "results/save-2/metrics.csv").exists()


@pytest.mark.children
async def test_one_that_would_write_too_large_a_file_is_ended(tmp_path: Path) -> None:
    (ended,) = await run(tmp_path, SAVE, limits=CallbackLimits(most_bytes=100))
    assert (ended.callback, ended.end) == ("save", CallbackEnd.FULL)
    assert (tmp_path / "results/save/metrics.csv").stat().st_size <= 100


@pytest.mark.children
@pytest.mark.parametrize(
    ("command", "limits", "end", "said"),
    [
        (HANGS, CallbackLimits(silent_s=1), CallbackEnd.SILENT, "did not answer for 1 s"),
        (HANGS, CallbackLimits(finish_s=0.5), CallbackEnd.SILENT, "0.5 s after the end"),
        (DIES, CallbackLimits(), CallbackEnd.DIED, "exit code 3; last line: no luck"),
        (FILLS, CallbackLimits(most_bytes=50_000), CallbackEnd.FULL, "bytes, the limit is 50,000"),
        (FLOODS, CallbackLimits(), CallbackEnd.FULL, "it has more than 4,096 files"),
        (HIDES, CallbackLimits(most_bytes=50_000), CallbackEnd.FULL, "bytes, the limit is 50,000"),
        (MAPS, CallbackLimits(), CallbackEnd.FULL, "it has files in its memory that it has removed"),
    ],
)
async def test_one_that_misbehaves_is_ended(
    tmp_path: Path, command: Sequence[str], limits: CallbackLimits, end: CallbackEnd, said: str
) -> None:
    (ended,) = await run(tmp_path, SAVE, limits=limits, command=command)
    assert (ended.callback, ended.end) == ("save", end)
    assert said in ended.message


OF_WORKSPACE = """
import os, pathlib, socket, subprocess, threading, time
import numpy as np
HERE = pathlib.Path(__file__).parent
DEEDS = {
    "counts": lambda folder: folder.replace("count.txt", str(len(folder.experiment.model(0).read_bytes())).encode()),
    "reads the record": lambda folder: (folder.experiment.directory / "key.pem").read_bytes(),
    "writes elsewhere": lambda folder: (HERE / "left").write_text("x"),
    "forks": lambda folder: os.fork(),
    "connects": lambda folder: socket.create_connection(("127.0.0.1", 9)),
    "opens many": lambda folder: [open(folder.directory / str(number), "w") for number in range(100)],
    "crowds": lambda folder: [threading.Thread(target=time.sleep, args=(30,), daemon=True).start() for _ in range(400)],
    "parts from its parent": lambda folder: os.setsid(),
    "allocates": lambda folder: np.ones(10 << 27).sum(),
}

class Mine:
    def __init__(self, deed):
        threading.stack_size(65536)
        self.deed = deed
    def take(self, events):
        pass
    def write(self, folder):
        DEEDS[self.deed](folder)
    def finish(self, folder):
        pass
"""


def workspace_of(tmp_path: Path) -> CodeOfCallbacks:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "mine.py").write_text(OF_WORKSPACE)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "v0000.safetensors").write_bytes(b"12345")
    (tmp_path / "key.pem").write_text("secret")
    return CodeOfCallbacks(tmp_path / "workspace", confined=True)


@pytest.mark.children
@pytest.mark.skipif(not available().sufficient, reason="this kernel cannot confine a callback")
@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("reads the record", "PermissionError: [Errno 13] Permission denied"),
        ("writes elsewhere", "PermissionError: [Errno 13] Permission denied"),
        ("forks", "PermissionError: [Errno 1] Operation not permitted"),
        ("connects", "PermissionError: [Errno 1] Operation not permitted"),
        ("allocates", "Unable to allocate"),
        ("opens many", "Too many open files"),
        ("parts from its parent", "PermissionError: [Errno 1] Operation not permitted"),
    ],
)
async def test_one_of_the_workspace_is_confined(tmp_path: Path, deed: str, told: str) -> None:
    mine = Component(template="mine:Mine", settings={"deed": deed})
    (ended,) = await run(tmp_path, mine, code=workspace_of(tmp_path))
    assert ended.end is CallbackEnd.RAISED
    assert told in ended.message


@pytest.mark.children
@pytest.mark.skipif(not available().sufficient, reason="this kernel cannot confine a callback")
async def test_one_of_the_workspace_reads_models_and_writes_into_its_folder(tmp_path: Path) -> None:
    mine = Component(template="mine:Mine", settings={"deed": "counts"})
    assert await run(tmp_path, mine, code=workspace_of(tmp_path)) == []
    assert (tmp_path / "results" / "Mine" / "count.txt").read_text() == "5"


@pytest.mark.children
@pytest.mark.skipif(not available().sufficient, reason="this kernel cannot confine a callback")
async def test_one_of_the_workspace_has_some_threads_and_no_crowd(tmp_path: Path) -> None:
    mine = Component(template="mine:Mine", settings={"deed": "crowds"})
    (ended,) = await run(tmp_path, mine, code=workspace_of(tmp_path), history=history_of(300))
    assert ended.end is CallbackEnd.FULL
    assert "threads, 256 are the most" in ended.message


@pytest.mark.children
async def test_where_nobody_may_bring_any_none_runs(tmp_path: Path) -> None:
    workspace_of(tmp_path)
    (ended,) = await run(tmp_path, Component(template="mine:Mine", settings={"deed": "counts"}))
    assert "there is no callback named" in ended.message
