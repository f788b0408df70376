"""What is said of child processes and their lines."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import psutil
import pytest

from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.parties import LogLines
from openfl_like.processes.child import FURTHER_NAMES, Child, clean_environment, describe_exit, fx_command, spawn
from openfl_like.processes.ownership import kill_listed, kill_owned, note_processes, owner_tag
from openfl_like.processes.standby import Standby
from openfl_like.processes.watchdog import note_descendants, watch_child
from openfl_like.services.director.aggregator_process import AggregatorLostError, AggregatorProcess
from openfl_like.services.logs.rate_limit import LineFilter, Rate, RateLimited, TokenBucket, Withheld
from openfl_like.services.logs.sender import LOG_LINE_LIMIT, LogRoute, LogSender
from openfl_like.services.logs.writers import COLLABORATOR, ENVOY, marked

pytestmark = pytest.mark.children


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (70, "exit code 70"),
        (-signal.SIGKILL, "killed by SIGKILL"),
        (-signal.SIGSEGV, "killed by SIGSEGV"),
        (-200, "killed by signal 200"),
    ],
)
def test_how_a_process_ended(code: int, words: str) -> None:
    assert describe_exit(code) == words


def test_a_child_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    found = clean_environment({"OMP_NUM_THREADS": "1"})
    assert found["PATH"] == os.environ["PATH"]
    assert found["OMP_NUM_THREADS"] == "1"
    assert not {"AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & found.keys()


def test_a_child_sees_what_somebody_names_and_so_do_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FURTHER_NAMES, "PYTHONPATH,SHIFT")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("SECRET", "secret")
    found = clean_environment()
    assert (found["PYTHONPATH"], found[FURTHER_NAMES]) == ("/somewhere", "PYTHONPATH,SHIFT")
    assert not {"SECRET", "SHIFT"} & found.keys()


def test_children_run_under_this_interpreter() -> None:
    assert fx_command("pki", "init") == [sys.executable, "-P", "-m", "openfl_like.cli", "pki", "init"]


async def test_a_child_s_lines_end_and_tail() -> None:
    lines: list[str] = []
    script = "import sys; print('out'); sys.stderr.write('one\\ntwo\\n'); sys.exit(3)"
    child = await spawn([sys.executable, "-c", script], on_line=lines.append)
    assert await child.line() == "out"
    assert await child.line() == ""
    assert await child.wait() == 3
    assert lines == list(child.tail) == ["one", "two"]


async def test_a_child_that_ignores_the_order_to_end_is_killed() -> None:
    script = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); sys.stdin.read()"
    )
    child = await spawn([sys.executable, "-c", script])
    assert await child.line() == "deaf"
    assert await child.stop(grace_s=0.05) == -signal.SIGKILL
    assert await child.stop() == -signal.SIGKILL  # the second time changes nothing


async def test_what_belongs_to_a_directory_is_ended_whoever_its_parent_is(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        print(os.getpid(), flush=True)\n"
        "        time.sleep(60)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    environment = clean_environment(owner_tag(tmp_path / "e1" / "run"))
    child = await spawn([sys.executable, "-c", script], environment=environment)
    stray = int(await child.line())
    await child.stop()
    assert psutil.pid_exists(stray)
    assert kill_owned(tmp_path / "e2") == []
    assert kill_owned(tmp_path / "e1") == [stray]
    _, alive = psutil.wait_procs([psutil.Process(stray)] if psutil.pid_exists(stray) else [], timeout=5)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


async def test_a_child_at_hand_runs_the_command_it_is_given() -> None:
    standby = Standby("plan")
    standby.prepare()
    lines: list[str] = []
    child = await standby.start(["check", "--no-such-option"], lines.append)
    assert await child.wait() == 2
    assert any("--no-such-option" in line for line in lines)
    await standby.close()  # nobody is at hand now


async def test_a_child_at_hand_that_has_died_is_replaced_and_the_last_one_is_ended() -> None:
    standby = Standby("plan")
    dead = await standby.start([], lambda _: None)
    await dead.stop()
    standby._spare = asyncio.create_task(asyncio.sleep(0, dead))
    child = await standby.start(["--help"], lambda _: None)
    assert child is not dead
    assert "plan [OPTIONS] COMMAND" in await child.line()
    await child.stop()
    standby.prepare()
    assert standby._spare is not None
    recyclable = await standby._spare
    await standby.close()
    assert recyclable.process.returncode in {-signal.SIGTERM, -signal.SIGKILL}


class Lines:
    """A log sender and what it sent."""

    def __init__(self, path: Path, outlet: LineFilter | None = None) -> None:
        self.path = path
        self.sent: asyncio.Queue[LogLines] = asyncio.Queue()
        self.sender = LogSender(LogRoute("e1", "bern", self.sent.put_nowait, outlet), path, COLLABORATOR, batch_s=0.0)


@pytest.fixture
def lines(tmp_path: Path) -> Lines:
    return Lines(tmp_path / "collaborator.log")


async def test_lines_go_out_in_one_batch(lines: Lines) -> None:
    for text in ("a", "b", "c"):
        lines.sender.add(text)
    async with asyncio.timeout(5):
        assert await lines.sent.get() == LogLines("e1", "bern", ("a", "b", "c"), "collaborator")
    assert lines.path.read_text() == "a\nb\nc\n"
    lines.sender.add("d")
    async with asyncio.timeout(5):
        assert (await lines.sent.get()).lines == ("d",)
    lines.sender.flush()
    assert lines.sent.empty()


async def test_what_is_left_goes_out_at_the_end(lines: Lines) -> None:
    lines.sender.add("last words")
    lines.sender.flush()
    assert (await lines.sent.get()).lines == ("last words",)
    await asyncio.sleep(0)
    assert lines.sent.empty()
    assert lines.path.read_text() == "last words\n"


async def test_a_line_without_end_is_cut(lines: Lines) -> None:
    lines.sender.add("x" * (LOG_LINE_LIMIT + 1))
    lines.sender.flush()
    assert (await lines.sent.get()).lines == ("x" * LOG_LINE_LIMIT,)


async def test_lines_that_do_not_go_out_stay_here_and_are_counted_at_the_end(lines: Lines, tmp_path: Path) -> None:
    metered = Lines(tmp_path / "metered.log", RateLimited(TokenBucket(Rate(1.0, 1e6, 2.0), clock=lambda: 0.0)))
    for text in ("a", "b", "c", "d"):
        metered.sender.add(text)
    metered.sender.flush()
    assert metered.path.read_text() == "a\nb\nc\nd\n"
    assert [metered.sent.get_nowait().lines for _ in range(2)] == [
        ("a", "b"), ("(2 lines are missing here: more than 1 lines or 976.562 KiB a second were written)",),
    ]  # fmt: skip
    kept = Lines(tmp_path / "kept.log", Withheld("bern"))
    for text in ("secret", "more"):
        kept.sender.add(text)
        kept.sender.flush()
    assert kept.sent.get_nowait().lines == ("(site 'bern' keeps its logs: logs.share of its shard.yaml is false)",)
    assert kept.sent.empty()
    assert kept.path.read_text() == "secret\nmore\n"
    assert lines.sent.empty()


async def test_lines_of_an_environment_say_who_wrote_them(lines: Lines, tmp_path: Path) -> None:
    sender = LogSender(LogRoute("e1", "bern", lines.sent.put_nowait), tmp_path / "environment.log", ENVOY)
    sender.add("installing")
    sender.flush()
    assert lines.sent.get_nowait() == LogLines("e1", "bern", ("installing",), "envoy")
    assert (tmp_path / "environment.log").read_text() == "installing\n"


async def test_lines_of_the_worker_say_so_here_and_on_their_way(lines: Lines) -> None:
    for text in ("one", marked("two"), marked("envoy: three"), "worker: four"):
        lines.sender.add(text)
    lines.sender.flush()
    assert [lines.sent.get_nowait() for _ in range(3)] == [
        LogLines("e1", "bern", ("one",), "collaborator"),
        LogLines("e1", "bern", ("two", "envoy: three"), "worker"),
        LogLines("e1", "bern", ("worker: four",), "collaborator"),
    ]
    assert lines.path.read_text() == "one\nworker: two\nworker: envoy: three\nworker: four\n"


class Ready:
    """A stand-by that runs a script."""

    def __init__(self, script: str) -> None:
        self.script = script

    async def start(self, _: object, on_line: Callable[[str], None]) -> Child:
        return await spawn([sys.executable, "-c", self.script], on_line=on_line)


async def test_an_aggregator_that_tells_of_its_error_is_let_end_by_itself() -> None:
    refusing = (
        "import sys, time\n"
        'print(\'{"ok": false, "error": {"code": "E302"}}\', flush=True)\n'
        "time.sleep(0.1)\n"
        "sys.stderr.write('Error [E302]: it is not mine\\n')\n"
        "sys.exit(4)\n"
    )
    with pytest.raises(AggregatorLostError) as caught:
        await AggregatorProcess.start(cast("Standby", Ready(refusing)), (), lambda _: None)
    assert caught.value.failure.exit_code == 4
    assert "it is not mine" in caught.value.failure.message
    listening = 'import signal\nprint(\'{"kind": "listening", "address": "here:1"}\', flush=True)\nsignal.pause()\n'
    process = await AggregatorProcess.start(cast("Standby", Ready(listening)), (), lambda _: None)
    assert process.address == "here:1"
    await process.end(grace_s=0.0)


async def test_what_a_part_of_the_workspace_did_is_why_its_aggregator_ended() -> None:
    error = {"name": "WorkspacePartError", "message": "the selector 'src.a:B' raised KeyError: 1", "place": "a.py:7"}
    script = f"import sys; print({json.dumps(json.dumps({'ok': False, 'error': error}))}, flush=True); sys.exit(2)"
    with pytest.raises(AggregatorLostError) as caught:
        await AggregatorProcess.start(cast("Standby", Ready(script)), (), lambda _: None)
    said = Failure(FailureKind.PART, "the selector 'src.a:B' raised KeyError: 1", file="a.py", line=7, exit_code=2)
    assert caught.value.failure == said
    assert str(said) == "the selector 'src.a:B' raised KeyError: 1 (a.py:7)"


async def test_the_end_of_a_child_is_noticed_at_once_whoever_holds_its_pipes() -> None:
    script = (
        "import os, signal, sys\n"
        "if not (holder := os.fork()):\n"
        "    os.setsid()\n"
        "    signal.pause()\n"
        "print(holder, flush=True)\n"
        "os._exit(3)\n"
    )
    child = await spawn([sys.executable, "-c", script])
    holder = int(await child.line())
    async with asyncio.timeout(5):
        assert await child.line() == ""  # its output has ended with it
        assert await child.wait() == 3
    os.kill(holder, signal.SIGKILL)  # which still held both pipes


async def test_a_frozen_child_is_killed_and_its_processes_are_noted(
    tmp_path: Path,
) -> None:
    child = await spawn([sys.executable, "-c", "import signal; signal.pause()"])
    child.process.send_signal(signal.SIGSTOP)
    await asyncio.wait_for(watch_child(child, tmp_path / "processes", look_s=0.02, frozen_s=0.06), 10)
    assert child.frozen
    assert await child.wait() == -signal.SIGKILL
    assert str(child.process.pid) in (tmp_path / "processes").read_text().split()


async def test_whoever_descends_from_a_process_is_noted_for_the_next_one(tmp_path: Path) -> None:
    notes = tmp_path / "processes"
    child = await spawn([sys.executable, "-c", "import signal; signal.pause()"])
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(note_descendants(notes), 1.0)
    assert str(child.process.pid) in notes.read_text().split()
    await child.stop(grace_s=0.0)


async def test_only_the_process_that_was_noted_is_ended(tmp_path: Path) -> None:
    notes = tmp_path / "processes"
    child = await spawn([sys.executable, "-c", "import signal; signal.pause()"])
    note_processes(notes, [child.process.pid])
    noted = notes.read_text()
    notes.write_text(noted.replace(noted.split()[-1], "7"))
    assert kill_listed(notes) == []  # another one has had this number
    notes.write_text(f"{noted}123")  # the last line was not written to its end
    assert kill_listed(notes) == [child.process.pid]
    assert await child.wait() == -signal.SIGKILL
    assert kill_listed(notes) == []
