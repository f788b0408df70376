"""A simulation over MPI: ranks as processes of their own, started by mpiexec."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from federations import fx_fine
from simulations import KINDS, SAMPLED, digest_in, lines_of, slow_workspace

from openfl_like.processes.child import Child, fx_command, spawn

pytestmark = pytest.mark.process
MPIEXEC = str(Path(sys.executable).with_name("mpiexec"))
PLAN = Path(__file__).parents[2] / "plans" / "breast_cancer.yaml"
JOB = Path(__file__).parents[2] / "docs" / "deploy" / "cluster" / "simulate.sbatch"
FEW = ("-s", "aggregator.settings.rounds_to_train=2")


async def started(ranks: int, cwd: Path, *arguments: str) -> Child:
    return await spawn([MPIEXEC, "-n", str(ranks), *fx_command("simulate", *arguments, "--runtime", "mpi")], cwd=cwd)


async def sha256(ranks: int, cwd: Path, *arguments: str) -> str:
    child = await started(ranks, cwd, *arguments)
    lines = await lines_of(child)
    assert await child.wait() == 0, child.tail
    return digest_in("\n".join(lines))


@pytest.mark.parametrize("kind", SAMPLED)
async def test_ranks_make_the_same_bytes_as_one_process(tmp_path: Path, kind: str) -> None:
    arguments = (str(PLAN), *FEW, *KINDS[kind])
    alone = digest_in(await fx_fine("simulate", *arguments, cwd=tmp_path))
    assert await sha256(2, tmp_path, *arguments) == alone
    assert await sha256(3, tmp_path, *arguments) == alone


@pytest.mark.parametrize("how", ["SIGINT to mpiexec", "a rank is killed"])
async def test_one_that_is_cut_off_ends_soon_leaves_nothing_and_goes_on_to_the_same_bytes(
    tmp_path: Path, how: str
) -> None:
    plan = slow_workspace(tmp_path / "study")
    alone = digest_in(await fx_fine("simulate", str(plan), cwd=tmp_path))
    (tmp_path / "wait").touch()
    arguments = (str(plan), "--directory", str(tmp_path / "record"))
    child = await started(3, tmp_path, *arguments)
    while not (await child.line()).startswith("round 1 "):
        pass
    processes = psutil.Process(child.process.pid).children(recursive=True)
    if how == "SIGINT to mpiexec":
        child.process.send_signal(signal.SIGINT)
    else:
        ranks = [one for one in processes if "simulate" in one.cmdline() and "mpiexec" not in one.cmdline()[0]]
        max(ranks, key=lambda one: one.pid).kill()
    async with asyncio.timeout(10):
        assert await child.wait() != 0
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
    (tmp_path / "wait").unlink()
    assert await sha256(2, tmp_path, *arguments) == alone


@pytest.mark.parametrize(
    ("ranks", "arguments", "told"),
    [
        (1, (), "without other ranks"),
        (2, ("--sandbox",), "--sandbox: a worker works for many sites"),
        (2, ("-s", "compression_pipeline.template=float16"), "in memory between rounds"),
        (2, ("-s", "task_runner.template=src.nothing:Runner"), "there is no module 'src.nothing'"),
    ],
)
async def test_what_cannot_run_says_so_and_no_rank_stays(
    tmp_path: Path, ranks: int, arguments: tuple[str, ...], told: str
) -> None:
    child = await started(ranks, tmp_path, str(PLAN), *arguments)
    async with asyncio.timeout(60):
        await lines_of(child)
        assert await child.wait() != 0
    assert told in "\n".join(child.tail)


@pytest.mark.parametrize("image", ["", "some.sif"])
async def test_the_job_file_of_the_cluster_makes_the_same_bytes_and_goes_on(tmp_path: Path, image: str) -> None:
    """The file as it is, with what Slurm would set; where it names an image, a stand-in runs what is to run in it."""
    study = tmp_path / "study"
    await fx_fine("workspace", "create", str(study), "-t", "numpy_breast_cancer", cwd=tmp_path)
    alone = digest_in(await fx_fine("simulate", str(study / "plan.yaml"), cwd=tmp_path))
    stand_in = tmp_path / "bin" / "apptainer"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\necho "in $6"\nshift 6\nexec "$@"\n')
    stand_in.chmod(0o755)
    given = {"SLURM_NTASKS": "3", "VENV": sys.prefix, "STUDY": "study", "IMAGE": image}
    given["PATH"] = f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}"
    for _ in range(2):  # the second finds the record of the first
        child = await spawn(["bash", str(JOB)], cwd=tmp_path, environment={**os.environ, **given})
        lines = await lines_of(child)
        assert await child.wait() == 0, child.tail
        assert digest_in("\n".join(lines)) == alone
        assert lines.count(f"in {image}") == (3 if image else 0)
    assert (study / "model.safetensors").is_file()
