"""A simulation on Ray: actors as processes of their own, on a Ray that is started for the run."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest
from simulations import KINDS, digest_in, invented_workspace, lines_of, slow_workspace

from openfl_like.processes.child import Child, fx_command, spawn

pytest.importorskip("ray", reason="Ray has an environment of its own: make test-ray")
pytestmark = [pytest.mark.process, pytest.mark.xdist_group("ray")]


async def started(cwd: Path, *arguments: str, **environment: str) -> Child:
    return await spawn(fx_command("simulate", *arguments), cwd=cwd, environment={**os.environ, **environment})


async def sha256(cwd: Path, *arguments: str) -> str:
    child = await started(cwd, *arguments)
    lines = await lines_of(child)
    assert await child.wait() == 0, child.tail
    return digest_in("\n".join(lines))


@pytest.fixture
def invented(tmp_path: Path) -> str:
    return str(invented_workspace(tmp_path / "study"))


@pytest.mark.parametrize("kind", KINDS)
async def test_actors_make_the_same_bytes_as_one_process(tmp_path: Path, invented: str, kind: str) -> None:
    alone = await sha256(tmp_path, invented, *KINDS[kind])
    assert await sha256(tmp_path, invented, *KINDS[kind], "--runtime", "ray", "--workers", "2") == alone


@pytest.fixture
def slow(tmp_path: Path) -> str:
    return str(slow_workspace(tmp_path / "study"))


def below(child: Child) -> list[psutil.Process]:
    return psutil.Process(child.process.pid).children(recursive=True)


async def in_round_one(cwd: Path, *arguments: str) -> Child:
    """Start one, and return when its first round is over."""
    child = await started(cwd, *arguments, "--runtime", "ray", "--workers", "2")
    while not (await child.line()).startswith("round 1 "):
        pass
    return child


async def test_an_actor_that_is_killed_is_replaced_and_the_bytes_are_the_same(tmp_path: Path, slow: str) -> None:
    alone = await sha256(tmp_path, slow)
    (tmp_path / "wait").touch()
    child = await in_round_one(tmp_path, slow)
    actors = [one for one in below(child) if "ActorWorker" in " ".join(one.cmdline())]
    assert len(actors) == 2
    actors[0].kill()
    (tmp_path / "wait").unlink()
    lines = await lines_of(child)
    assert await child.wait() == 0, child.tail
    assert f"sha256   {alone}" in lines


async def test_one_that_is_interrupted_ends_soon_leaves_nothing_and_goes_on_to_the_same_bytes(
    tmp_path: Path, slow: str
) -> None:
    alone = await sha256(tmp_path, slow)
    (tmp_path / "wait").touch()
    arguments = (slow, "--directory", str(tmp_path / "record"))
    child = await in_round_one(tmp_path, *arguments)
    processes = below(child)
    child.process.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        assert await child.wait() != 0
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
    (tmp_path / "wait").unlink()
    assert await sha256(tmp_path, *arguments) == alone


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--worker-gpus", "99"), "a worker takes 1 CPU and 99 GPU"),
        (("--sandbox",), "--sandbox: a worker works for many sites"),
        (("-s", "compression_pipeline.template=float16"), "in memory between rounds"),
        (("-s", "task_runner.template=src.nothing:Runner"), "there is no module 'src.nothing'"),
    ],
)
async def test_what_cannot_run_says_so(tmp_path: Path, invented: str, arguments: tuple[str, ...], told: str) -> None:
    child = await started(tmp_path, invented, "--runtime", "ray", "--workers", "1", *arguments)
    async with asyncio.timeout(60):
        await lines_of(child)
        assert await child.wait() != 0
    assert told in "\n".join(child.tail)


async def test_a_cluster_that_is_not_there_is_told_of_at_once(tmp_path: Path, invented: str) -> None:
    child = await started(tmp_path, invented, "--runtime", "ray", RAY_ADDRESS="127.0.0.1:1")
    async with asyncio.timeout(30):
        await lines_of(child)
        assert await child.wait() == 2
    assert "no Ray cluster answers at 127.0.0.1:1: [Errno 111] Connection refused" in "\n".join(child.tail)
