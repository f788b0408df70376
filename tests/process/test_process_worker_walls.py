"""What code that a user submits reaches at a site whose worker confines itself, and what it still can do."""

import asyncio
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from federations import OBEDIENT, User, federation_of, log_with, site_of
from pace import SLOWNESS

from openfl_like.errors import ShardError
from openfl_like.processes.sandbox.confinement import available
from openfl_like.processes.sandbox.trial import Targets
from openfl_like.processes.worker_client import WorkerProcess, WorkerSettings, describe_shard
from openfl_like.services.local_federation import LocalFederation
from openfl_like.testing.wheels import write_wheel

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(bool(available().gaps), reason=f"a worker would be {available()}"),
    pytest.mark.skipif(SLOWNESS > 1, reason="what slows a process is a thread, which stays outside the walls"),
]
PROBING = """\
import json
import os

from openfl_like.processes.sandbox.trial import Targets, attempts


def probe(text):
    given = json.loads(text)
    own_key = os.path.join(os.getcwd(), "..", "..", "certificate", "key.pem")
    for secret in (given["secret"], own_key):
        targets = Targets(**{**given, "secret": secret, "parent": os.getppid()})
        for attempt in attempts(targets):
            if attempt.reached:
                print(f"REACHED {attempt.what}", flush=True)
    print("PROBED", flush=True)


"""
PARALLEL = """

def work_in_parallel():
    import joblib
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.zeros(32, 2))
    print("SUM", sum(len(batch[0]) for batch in DataLoader(data, batch_size=4, num_workers=2)), flush=True)
    large = np.ones(500_000)  # shared by a file
    work = joblib.Parallel(n_jobs=2, max_nbytes=1000)(joblib.delayed(np.mean)(large * k) for k in (1, 2, 3))
    print("SUM", float(sum(work)), flush=True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print("SUM", sum(pool.map(math.sqrt, [1, 4])), flush=True)


import math
import multiprocessing

if multiprocessing.parent_process() is None:
    work_in_parallel()
"""
WITHOUT_LANDLOCK = """\
import asyncio, ctypes, logging, struct, sys
from pathlib import Path
from openfl_like.errors import FederationError
from openfl_like.processes.sandbox.kernel import forbid_new_privileges, process_control
from openfl_like.processes.worker_client import WorkerProcess, WorkerSettings, describe_shard

# a filter in which landlock_create_ruleset is a call that this kernel does not know
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050026), (0x06, 0, 0, 0x7FFF0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
head = struct.pack("@HP", len(steps), ctypes.addressof(program))
forbid_new_privileges()
process_control(22, 2, ctypes.create_string_buffer(head, len(head)))
logging.basicConfig()
try:
    print(asyncio.run(describe_shard(Path(sys.argv[1]), Path(sys.argv[2]))).sample_shape)
except FederationError as error:
    print(error.code, error)
"""


def _workspace(directory: Path) -> Path:
    """An obedient workspace that tries what it can reach, once, when it is loaded."""
    shutil.copytree(OBEDIENT, directory, ignore=shutil.ignore_patterns("__pycache__"))
    code = directory / "src" / "obedient.py"
    text = code.read_text().replace('gate: str = "")', 'gate: str = "", targets: str = "")')
    text = text.replace("        self._gate = gate\n", "        self._gate = gate\n        probe(targets)\n")
    code.write_text(text.replace("class Loader:", PROBING + "class Loader:", 1))
    return directory / "plan.yaml"


async def _reached(federation: LocalFederation, user: User, plan: Path, tmp_path: Path) -> set[str]:
    """What the submitted code said that it had reached."""
    outside = tmp_path / "outside"
    outside.mkdir()
    port = int(federation.director.rpartition(":")[2])
    key = federation.directory / "certs" / "envoy" / "site-1" / "key.pem"
    other = federation.directory / "certs" / "user" / "user"
    targets = json.dumps(asdict(Targets(str(key), str(other), str(outside), 0, port)))
    rounds, setting = "aggregator.settings.rounds_to_train=1", f"task_runner.settings.targets={json.dumps(targets)}"
    experiment = await user.submit(plan, rounds, setting)
    ended = await user.ended(experiment)
    assert ended.status == "FINISHED", ended.reason
    text = await log_with(user, experiment, "PROBED")
    return {line.partition("REACHED ")[2] for line in text.splitlines() if "REACHED " in line}


@pytest.mark.parametrize("threads", [1, 2])
async def test_submitted_code_reaches_nothing_beyond_its_own(tmp_path: Path, threads: int) -> None:
    plan = _workspace(tmp_path / "code")
    with plan.open("a") as file:
        file.write(f"collaborator: {{settings: {{threads: {threads}}}}}\n")
    async with federation_of({"site-1": site_of(tmp_path / "site")}, tmp_path) as (federation, user):
        assert await _reached(federation, user, plan, tmp_path) == set()
        log = federation.log("site-1").read_text()
        assert log.count("workers are confined: files, processes, signals, network, kernel, privileges") == 1


async def test_where_the_site_wants_no_sandbox_it_reaches_the_key_of_the_site(tmp_path: Path) -> None:
    plan = _workspace(tmp_path / "code")
    async with federation_of({"site-1": site_of(tmp_path / "site", "sandbox: off\n")}, tmp_path) as (federation, user):
        reached = await _reached(federation, user, plan, tmp_path)
        assert {"read the key", "write elsewhere", "connect by TCP", "signal the parent"} <= reached
        assert "workers are not confined" in federation.log("site-1").read_text()


async def test_a_package_that_runs_code_when_python_starts_does_so_within_the_walls(tmp_path: Path) -> None:
    plan = _workspace(tmp_path / "code")
    site = site_of(tmp_path / "site", "environment: {install_requirements: true, wheelhouse: house}\n")
    secret = tmp_path / "federation" / "certs" / "envoy" / "site-1" / "key.pem"
    eager = (
        f"import os, sys; readable = os.system('cat {secret} >/dev/null 2>&1') == 0; "
        "sys.stderr.write('EAGER REACHED the key\\n' if readable else 'EAGER in vain\\n')\n"
    )
    lock = write_wheel(tmp_path / "site" / "house", "eager_thing", "1.0", {"eager_thing.pth": eager})
    (plan.parent / "requirements.lock").write_text(lock + "\n")
    async with federation_of({"site-1": site}, tmp_path) as (federation, user):
        assert await _reached(federation, user, plan, tmp_path) == set()
        files = federation.directory.glob("envoy-site-1/*/collaborator.log")
        assert "EAGER in vain" in "".join(path.read_text() for path in files)


async def test_a_shard_that_reads_what_nobody_named_says_what_to_write(tmp_path: Path) -> None:
    shard, table = site_of(tmp_path / "site"), tmp_path / "site" / "table.csv"
    table.write_text("1\n")
    code = shard.parent / "one_number.py"
    code.write_text(code.read_text() + f"\nopen({str(table)!r}).close()\n")
    with pytest.raises(ShardError, match=r"PermissionError: .*table.csv.*under reads: in shard.yaml"):
        await describe_shard(shard, tmp_path / "work")
    shard.write_text(shard.read_text() + "reads: [table.csv]\n")
    assert (await describe_shard(shard, tmp_path / "work")).sample_shape == (1,)


@pytest.mark.parametrize("python", [None, Path(sys.executable)], ids=["ours", "of_the_workspace"])
async def test_the_home_directory_in_a_shard_file_is_that_of_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Path | None
) -> None:
    (home := tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / "table.csv").write_text("age\n63\n")
    shard = site_of(tmp_path / "site", "reads: ['~/table.csv']\n")
    code = shard.parent / "one_number.py"
    code.write_text(code.read_text() + f"\nopen({str(home / 'table.csv')!r}).close()\n")
    worker = await WorkerProcess.start(WorkerSettings(shard, tmp_path / "work", python=python), print)
    await worker.stop()


@pytest.mark.torch
@pytest.mark.sklearn
async def test_what_starts_processes_of_its_own_goes_on(tmp_path: Path) -> None:
    shard = site_of(tmp_path / "site")
    code = shard.parent / "one_number.py"
    code.write_text(code.read_text() + PARALLEL)
    lines: list[str] = []
    worker = await WorkerProcess.start(WorkerSettings(shard, tmp_path / "work"), lines.append)
    await worker.stop()
    assert worker.confinement == available()
    assert [line for line in lines if line.startswith("SUM")] == ["SUM 32", "SUM 6.0", "SUM 3.0"]


async def test_a_site_that_requires_a_sandbox_does_not_run_on_a_kernel_without_landlock(tmp_path: Path) -> None:
    shard = site_of(tmp_path / "site", "sandbox: required\n")
    command = [sys.executable, "-c", WITHOUT_LANDLOCK, str(shard), str(tmp_path / "work")]
    refused = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert "E508" in refused.stdout
    assert "does not close files, processes, signals" in refused.stdout
    shard.write_text(shard.read_text().replace("required", "best"))
    allowed = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert allowed.stdout == "(1,)\n"
    assert "workers are confined: network, kernel, privileges; not: files, processes, signals" in allowed.stderr


LOOKING_ROUND = """\
        reached = []
        for name in {names!r}:
            try:
                open(os.path.join({top!r}, name)).close()
                reached.append(name)
            except OSError:
                pass
        raise RuntimeError("reached " + " ".join(reached) + " .")
"""


def _simulate(plan: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "openfl_like.cli", "simulate", str(plan), *words]
    one = ["-s", "aggregator.settings.rounds_to_train=1", "--shard", f"site-1={plan.parent / 'shards' / 'site-1.yaml'}"]
    return subprocess.run([*command, *one], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("confined", [False, True])
async def test_a_simulation_is_confined_if_that_is_asked(tmp_path: Path, *, confined: bool) -> None:
    plan, secret = _workspace(tmp_path / "code"), tmp_path / "secret"
    secret.write_text("secret")
    code = plan.parent / "src" / "obedient.py"
    code.write_text(code.read_text().replace("        probe(targets)\n", f"        open({str(secret)!r}).close()\n"))
    done = await asyncio.to_thread(_simulate, plan, "--runtime", "process", *(["--sandbox"] if confined else []))
    assert ("Permission denied" in done.stderr) == confined
    assert (done.returncode != 0) == confined
    code.write_text(code.read_text().replace(f"        open({str(secret)!r}).close()\n", ""))
    done = await asyncio.to_thread(_simulate, plan, "--runtime", "process", *(["--sandbox"] if confined else []))
    assert done.returncode == 0, done.stderr
    refused = await asyncio.to_thread(_simulate, plan, "--sandbox")
    assert "E100" in refused.stderr
    assert "add --runtime process" in refused.stderr


@pytest.mark.parametrize("confined", [False, True])
async def test_a_confined_simulated_site_reads_its_own_data_and_not_those_of_others(
    tmp_path: Path, *, confined: bool
) -> None:
    plan = _workspace(tmp_path / "code")
    shards, code = plan.parent / "shards", plan.parent / "src" / "obedient.py"
    for site in ("site-1", "site-2"):
        (shards / f"{site}.csv").write_text("1\n")
        shard = shards / f"{site}.yaml"
        shard.write_text(shard.read_text() + f"reads: [{site}.csv]\n")
    (plan.parent / "data").mkdir()
    (plan.parent / "data" / "all.csv").write_text("1\n")
    own = ["shards/one_number.py", "shards/site-1.csv", "shards/site-1.yaml"]
    others = ["shards/site-2.csv", "shards/site-2.yaml", "data/all.csv", "plan.yaml", "../record/spool/update"]
    (tmp_path / "record" / "spool").mkdir(parents=True)
    (tmp_path / "record" / "spool" / "update").write_text("of another site")
    looking = LOOKING_ROUND.format(top=str(plan.parent), names=own + others)
    code.write_text(code.read_text().replace("        probe(targets)\n", looking))
    words = ("--runtime", "process", "--directory", str(tmp_path / "record"), *(["--sandbox"] if confined else []))
    done = await asyncio.to_thread(_simulate, plan, *words)
    said = " ".join(done.stderr.split())
    reached = own if confined else own + others
    assert f"RuntimeError: reached {' '.join(reached)} . (src/obedient.py:" in said
