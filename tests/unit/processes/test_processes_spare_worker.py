import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openfl_like.processes.child import Child, spawn
from openfl_like.processes.ownership import MARK
from openfl_like.processes.spare_worker import SpareWorker, WarmUp, environment_of, moved
from openfl_like.processes.worker import Worker

pytestmark = pytest.mark.children

TORCH = frozenset({"torch"})


async def spare(warm_up: WarmUp) -> tuple[SpareWorker, Child]:
    """A spare worker whose process only waits."""
    found = SpareWorker()
    found._warm_up = warm_up
    found._child = await spawn([sys.executable, "-c", "input()"])
    return found, found._child


def test_what_is_done_ahead_is_read_as_it_was_written() -> None:
    warm_up = WarmUp(frozenset({"torch", "sklearn"}), 1)
    assert WarmUp.read(warm_up.text()) == warm_up


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"frameworks": 3, "threads": 1}', '{"frameworks": ["torch"]}', "{"]
)
def test_a_note_that_is_not_valid_has_nothing_of_a_framework_imported(text: str) -> None:
    assert WarmUp.read(text) == WarmUp()


def test_a_note_names_neither_other_modules_nor_more_threads_than_the_machine_has() -> None:
    text = json.dumps({"frameworks": ["torch", "antigravity"], "threads": 10**9})
    assert WarmUp.read(text) == WarmUp(TORCH, os.cpu_count() or 1)
    assert WarmUp.read(json.dumps({"frameworks": [], "threads": -3})).threads == 1


def test_two_frameworks_that_do_not_share_a_process_are_not_both_imported_ahead() -> None:
    assert WarmUp.of({"torch", "tensorflow", "sklearn"}, 2) == WarmUp(frozenset({"sklearn"}), 2)
    assert WarmUp.of({"tensorflow"}, 1) == WarmUp(frozenset({"tensorflow"}), 1)


def test_a_worker_gets_as_many_threads_as_it_may_use_and_nothing_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    environment = environment_of(3, {MARK: "/somewhere"})
    assert {environment[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL")} == {"3"}
    assert environment[MARK] == "/somewhere"
    assert "AWS_SECRET_ACCESS_KEY" not in environment


@pytest.mark.parametrize("named", [TORCH, TORCH | {"sklearn"}])
async def test_a_worker_that_has_imported_what_is_named_is_taken_once(named: frozenset[str]) -> None:
    worker, child = await spare(WarmUp(TORCH, 2))
    assert await worker.take(named, 2) is child
    assert await worker.take(named, 2) is None
    assert child.process.returncode is None
    await child.stop(grace_s=0.0)


@pytest.mark.parametrize(("named", "threads"), [(frozenset[str](), 2), (frozenset({"tensorflow"}), 2), (TORCH, 1)])
async def test_a_worker_that_does_not_suit_is_ended(named: frozenset[str], threads: int) -> None:
    worker, child = await spare(WarmUp(TORCH, 2))
    assert await worker.take(named, threads) is None
    assert child.process.returncode in {-signal.SIGTERM, -signal.SIGKILL}


async def test_a_worker_that_has_died_meanwhile_is_not_taken() -> None:
    worker, child = await spare(WarmUp())
    child.kill()
    await child.wait()
    assert await worker.take((), 1) is None


def test_without_a_spare_worker_there_is_a_new_loop_and_nobody_to_take() -> None:
    worker = SpareWorker()
    with asyncio.Runner(loop_factory=worker.loop) as runner:
        assert runner.run(worker.take((), 1)) is None


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This process waits in a directory; afterwards it is where it was."""
    before = Path.cwd()
    waiting = tmp_path / "waiting"
    waiting.mkdir()
    monkeypatch.setenv(MARK, str(waiting))
    os.chdir(waiting)
    yield tmp_path
    os.chdir(before)


def test_a_worker_that_waited_elsewhere_works_where_its_experiment_is(elsewhere: Path) -> None:
    work, owner = elsewhere / "run" / "work", elsewhere / "run"
    work.mkdir(parents=True)
    answer = Worker().answer({"shard": str(elsewhere / "no_such_shard.yaml"), **moved(work, owner)})
    assert "error" in answer
    assert Path.cwd() == work
    assert os.environ[MARK] == str(owner)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the system does not tell an environment")
def test_a_worker_that_waits_sees_no_gpu_whatever_its_collaborator_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    worker = SpareWorker()
    worker.start(WarmUp(), {})
    assert worker._child is not None
    environment = Path(f"/proc/{worker._child.process.pid}/environ").read_bytes().split(b"\0")
    loop = worker.loop()
    loop.run_until_complete(worker._child.stop(grace_s=0.0))
    loop.close()
    assert b"CUDA_VISIBLE_DEVICES=" in environment
