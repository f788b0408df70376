"""A study is killed, interrupted, run by two machines: it ends with the rows and bytes of one that was left alone."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from federations import OBEDIENT, fx_fine, run_fx

from openfl_like.federation.announcements import ExperimentBegun, only
from openfl_like.plan.workspace import find_study, installed_studies
from openfl_like.processes.child import clean_environment, fx_command
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tensors.manifest import sha256_file

pytestmark = pytest.mark.process
ROUNDS = 250
STUDY = f"""\
name: drift
plan: {OBEDIENT}/plan.yaml
set:
  admission.collaborators: [site-1, site-2, site-3]
  aggregator.settings.rounds_to_train: {ROUNDS}
repetitions: 2
sweep:
  length: {{key: task_runner.settings.length, values: [3, 5, 1000]}}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Six runs of half a second."""
    path = tmp_path / "drift.yaml"
    path.write_text(STUDY)
    return path


@asynccontextmanager
async def running(study: Path, *words: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
    """Runs a study in its folder, and gives the process with its lines."""
    process = await asyncio.create_subprocess_exec(
        *fx_command("study", "run", study.name, "--json", "--workers", "2", *words),
        cwd=study.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=clean_environment(),
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_midway(lines: asyncio.StreamReader) -> str:
    """Reads until a run has ended and another one is midway; gives that one."""
    ended = set[str]()
    async for line in lines:
        told = json.loads(line)
        if told["kind"] == "run_ended":
            ended.add(told["run"])
        if told["kind"] == "round_finished" and ended - {told["run"]} and 0 < told["round"] < ROUNDS // 2:
            return str(told["run"])
    raise AssertionError("the study ended before")


async def all_gone(processes: list[psutil.Process], within_s: float = 10.0) -> None:
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, timeout=within_s)
    assert not alive


def shas(folder: Path) -> dict[str, str]:
    found = {path.parent.name: json.loads(path.read_text())["sha256"] for path in folder.glob("runs/*/result.json")}
    assert len(found) == 6
    assert all(found.values())
    return found


async def left_alone(study: Path) -> tuple[str, dict[str, str]]:
    """Rows and models of the undisturbed study."""
    await fx_fine("study", "run", study.name, "--directory", "alone", cwd=study.parent)
    alone = study.parent / "alone"
    return (alone / "rows.jsonl").read_text(), shas(alone)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
async def test_a_study_that_was_ended_midway_goes_on_to_the_same_bytes(study: Path, how: signal.Signals) -> None:
    study.write_text(STUDY.replace(f"rounds_to_train: {ROUNDS}", f"rounds_to_train: {4 * ROUNDS}"))  # some seconds each
    folder = study.parent / "drift.study"
    async with running(study) as (process, lines):
        midway = await until_midway(lines)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 3  # two workers, and a run of one of them
        process.send_signal(how)
        async with asyncio.timeout(3):
            code = await process.wait()
    assert code == {signal.SIGKILL: -9, signal.SIGINT: 130}[how]
    await all_gone(family)
    assert not (folder / "runs" / midway / "result.json").exists()
    first = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/result.json")}
    assert 0 < len(first) < 6

    await fx_fine("study", "run", study.name, cwd=study.parent)
    assert {path: path.stat().st_mtime_ns for path in first} == first  # they were not repeated
    store = SQLITE.experiment(ExperimentFiles(folder / "runs" / midway / "record"))
    begun = only(store.events(), ExperimentBegun)
    store.close()
    assert [told.resumed for told in begun] == [False, True]  # it went on, and did not begin anew
    rows, models = await left_alone(study)
    assert (folder / "rows.jsonl").read_text() == rows
    assert shas(folder) == models


async def test_a_run_has_the_bytes_that_fx_simulate_has(study: Path) -> None:
    await fx_fine("study", "run", study.name, "--workers", "3", cwd=study.parent)
    words = (
        "-s",
        "admission.collaborators=[site-1, site-2, site-3]",
        "-s",
        f"aggregator.settings.rounds_to_train={ROUNDS}",
    )
    plan = str(OBEDIENT / "plan.yaml")
    found = shas(study.parent / "drift.study")
    for length, seed, run in ((3, 3, "c1-r1"), (1000, 4, "c3-r2")):
        changed = ("-s", f"task_runner.settings.length={length}", "-s", f"seed={seed}")
        await fx_fine("simulate", plan, *words, *changed, "-o", f"{run}.safetensors", cwd=study.parent)
        assert sha256_file(study.parent / f"{run}.safetensors") == found[run]


async def test_a_module_of_the_standard_library_s_name_beside_a_study_does_no_harm(study: Path) -> None:
    (study.parent / "csv.py").write_text("raise RuntimeError('not this one')\n")
    code, _, err = await run_fx("study", "run", study.name, cwd=study.parent)
    assert code == 0, err


async def test_what_two_machines_ran_becomes_the_whole(study: Path) -> None:
    for share in ("1/2", "2/2"):
        folder = f"machine-{share[0]}"
        await fx_fine("study", "run", study.name, "--share", share, "--directory", folder, cwd=study.parent)
    assert (
        "3 from machine-1, 3 from machine-2"
        in (await run_fx("study", "merge", "machine-1", "machine-2", "-o", "whole", cwd=study.parent))[2]
    )
    rows, models = await left_alone(study)
    assert (study.parent / "whole" / "rows.jsonl").read_text() == rows
    assert shas(study.parent / "whole") == models
    await fx_fine("study", "run", study.name, "--directory", "whole", cwd=study.parent)  # nothing is left to do
    assert (study.parent / "whole" / "rows.jsonl").read_text() == rows


async def test_two_cannot_run_one_study_in_one_folder(study: Path) -> None:
    async with running(study) as (_, lines):
        await until_midway(lines)
        code, _, told = await run_fx("study", "run", study.name, cwd=study.parent)
        assert code == 4
        assert "another fx study run uses this directory" in told
        code, shown, _ = await run_fx("study", "show", "drift.study", cwd=study.parent)
        assert code == 0
        assert "running" in shown


async def test_a_run_that_fails_is_told_and_the_others_go_on(study: Path) -> None:
    text = STUDY.replace("values: [3, 5, 1000]", "values: [3, wrong]").replace(f": {ROUNDS}", ": 3")
    study.write_text(text)
    code, shown, told = await run_fx("study", "run", study.name, cwd=study.parent)
    assert code == 1
    assert "Error [E509]: drift: 2 of 4 runs are not as they should be" in told
    assert "failed 2/2 [E5" in shown
    assert shown.count("done") == 1
    (row,) = [line for line in shown.splitlines() if line.startswith("failed: c2-r1, c2-r2 [")]
    assert "wrong" in row or "str" in row
    again, _, _ = await run_fx("study", "run", study.name, "--retry-failed", cwd=study.parent)
    assert again == 1


async def test_a_run_whose_process_is_killed_is_told_and_goes_on_next_time(study: Path) -> None:
    async with running(study) as (process, lines):
        await until_midway(lines)
        workers = psutil.Process(process.pid).children()
        (victim, *_) = [run for worker in workers for run in worker.children()]
        victim.kill()
        told = [json.loads(line) async for line in lines]
        assert await process.wait() == 1
    killed = [one for one in told if one.get("state") == "killed"]
    assert [(one["code"], "killed by SIGKILL" in one["cause"]) for one in killed] == [("E503", True)]
    assert told[-1]["error"]["code"] == "E509"
    await fx_fine("study", "run", study.name, cwd=study.parent)
    rows, models = await left_alone(study)
    assert (study.parent / "drift.study" / "rows.jsonl").read_text() == rows
    assert shas(study.parent / "drift.study") == models


async def test_early_stopping_does_not_depend_on_workers_or_interruptions(study: Path) -> None:
    study.write_text(
        STUDY.replace("values: [3, 5, 1000]", "values: [3, 4, 5, 6, 7]").replace(f": {ROUNDS}", ": 12")
        + "early_stop: {first: 2, factor: 2}\n"
    )
    async with running(study, "--directory", "3") as (process, lines):
        async for line in lines:
            if json.loads(line)["kind"] == "stopped":  # some runs pause, some are stopped
                break
        process.kill()
    found = list[str]()
    for workers in ("1", "3"):
        await fx_fine("study", "run", study.name, "--workers", workers, "--directory", workers, cwd=study.parent)
        found.append((study.parent / workers / "rows.jsonl").read_text())
    assert found[0] == found[1]
    last = {json.loads(line)["run"]: json.loads(line)["round"] for line in found[0].splitlines()}
    assert sorted(last.values()) == [2, 2, 2, 2, 4, 4, 8, 8, 12, 12]


@pytest.mark.torch
@pytest.mark.parametrize("name", installed_studies())
async def test_ready_made_studies_run_and_are_reported(name: str, tmp_path: Path) -> None:
    text = re.sub(r"rounds_to_train: \d+", "rounds_to_train: 3", find_study(name).read_text())
    text = re.sub(r"repetitions: \d+", "repetitions: 1", text).replace("first: 3, factor: 2", "first: 1, factor: 6")
    (tmp_path / "small.yaml").write_text(text)
    code, shown, told = await run_fx("study", "run", "small.yaml", cwd=tmp_path)
    assert code == 0, told
    assert "failed" not in shown
    pytest.importorskip("matplotlib")
    pytest.importorskip("scipy")
    await fx_fine("study", "report", f"{name}.study", "-o", "report", cwd=tmp_path)
    assert (tmp_path / "report" / "curves.png").stat().st_size > 10_000
