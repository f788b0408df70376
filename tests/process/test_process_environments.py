"""Environments for workspaces: a package that the Envoy does not have, from a wheelhouse that the test fills."""

import asyncio
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from federations import OBEDIENT, federation_of, log_with, site_of

from openfl_like.authoring.requirements import lock_requirements
from openfl_like.errors import RequirementsError
from openfl_like.federation.announcements import RoundFinished, only
from openfl_like.services.envoy.environments import PREPARE_S, Environments
from openfl_like.testing.wheels import write_sdist, write_wheel

pytestmark = pytest.mark.process
ROUND = "aggregator.settings.rounds_to_train=1"
TINY = {"tiny_thing.py": "LOSS = 4.5\n"}
POLICY = "environment: {install_requirements: true, wheelhouse: house}\n"


def _packages() -> str:
    """What is installed here, as pip tells it, and the files' times."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "list", "--format=freeze"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _workspace(directory: Path, lock: str) -> Path:
    """An obedient workspace that needs a package which is not here."""
    shutil.copytree(OBEDIENT, directory, ignore=shutil.ignore_patterns("__pycache__"))
    code = directory / "src" / "obedient.py"
    text = code.read_text().replace('"""Tells how far it is."""', "import tiny_thing")
    code.write_text(text.replace('{"loss": distance,', '{"loss": tiny_thing.LOSS,'))
    (directory / "requirements.lock").write_text(lock + "\n")
    return directory / "plan.yaml"


@pytest.mark.long
async def test_a_workspace_s_own_package_is_there_for_it_alone(tmp_path: Path) -> None:
    assert importlib.util.find_spec("tiny_thing") is None
    before = _packages()
    shard = site_of(tmp_path / "site", POLICY)
    plan = _workspace(tmp_path / "code", write_wheel(tmp_path / "site" / "house", "tiny_thing", "1.0", TINY))
    async with federation_of({"site-1": shard}, tmp_path) as (_, user):
        first = await user.ended(await user.submit(plan, ROUND))
        assert first.status == "FINISHED", first.reason
        (last,) = only(await user.events(first.id), RoundFinished)[1:]
        assert last.metrics["loss"] == 4.5
        assert "Successfully installed tiny-thing-1.0" in await log_with(user, first.id, "ready after")
        second = await user.ended(await user.submit(plan, ROUND))
        assert second.status == "FINISHED", second.reason
        assert "prepared before" in await log_with(user, second.id, "prepared before")
    assert _packages() == before
    assert importlib.util.find_spec("tiny_thing") is None


async def test_a_site_that_does_not_install_says_so_and_the_code_finds_out(tmp_path: Path) -> None:
    shard = site_of(tmp_path / "site", "")
    plan = _workspace(tmp_path / "code", write_wheel(tmp_path / "site" / "house", "tiny_thing", "1.0", TINY))
    async with federation_of({"site-1": shard}, tmp_path) as (federation, user):
        ended = await user.ended(await user.submit(plan, ROUND))
        assert "is not installed" in await log_with(user, ended.id, "is not installed")
        events = await user.events(ended.id)
        assert any("No module named 'tiny_thing'" in str(event.announcement) for event in events)
        assert not (federation.directory / "envoy-site-1" / "environments").exists()


async def test_source_is_never_built(tmp_path: Path) -> None:
    shard = site_of(tmp_path / "site", POLICY)
    told = tmp_path / "built"
    plan = _workspace(tmp_path / "code", write_sdist(tmp_path / "site" / "house", "tiny_thing", "1.0", told))
    async with federation_of({"site-1": shard}, tmp_path) as (federation, user):
        ended = await user.ended(await user.submit(plan, ROUND))
        assert ended.status == "FAILED"
        assert "the requirements cannot be installed" in ended.reason
        assert "No matching distribution found for tiny-thing==1.0" in ended.reason
        assert "No matching distribution" in await log_with(user, ended.id, "No matching distribution")
        kept = federation.directory / "envoy-site-1" / "environments"
        assert [path.name for path in kept.iterdir() if path.name != "cache"] == []
    assert not told.exists()


async def _prepare(
    tmp_path: Path, lock: str, policy: str = POLICY, limit_s: float = PREPARE_S
) -> tuple[list[str], float, Path | None]:
    lines: list[str] = []
    workspace = tmp_path / "workspace"
    workspace.mkdir(exist_ok=True)
    (workspace / "requirements.lock").write_text(lock)
    environments = Environments(tmp_path / "environments", limit_s)
    began = asyncio.get_running_loop().time()
    found = await environments.provide(workspace, site_of(tmp_path / "site", policy), lines.append)
    return lines, asyncio.get_running_loop().time() - began, found


async def test_the_second_time_is_at_least_ten_times_as_fast(tmp_path: Path) -> None:
    lock = write_wheel(tmp_path / "site" / "house", "tiny_thing", "1.0", TINY)
    _, first_s, python = await _prepare(tmp_path, lock)
    lines, second_s, again = await _prepare(tmp_path, lock)
    assert python == again
    assert "prepared before" in lines[-1]
    assert 10 * second_s < first_s
    script = "import tiny_thing, numpy, openfl_like; print(tiny_thing.__file__)"
    command = [str(python), "-I", "-c", script]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "environments")


async def test_another_hash_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    lock = write_wheel(tmp_path / "site" / "house", "tiny_thing", "1.0", TINY)
    write_wheel(tmp_path / "site" / "house", "tiny_thing", "1.0", {"tiny_thing.py": "LOSS = 5\n"})
    with pytest.raises(RequirementsError, match="Expected sha256"):
        await _prepare(tmp_path, lock)
    assert [path.name for path in (tmp_path / "environments").iterdir() if path.name != "cache"] == []


async def test_what_takes_too_long_is_given_up(tmp_path: Path) -> None:
    lock = write_wheel(tmp_path / "site" / "house", "tiny_thing", "1.0", TINY)
    with pytest.raises(RequirementsError, match=r"longer than 0\.3 s"):
        await _prepare(tmp_path, lock, limit_s=0.3)


async def test_an_interpreter_of_the_site_is_used(tmp_path: Path) -> None:
    lock = write_wheel(tmp_path / "site" / "house", "tiny_thing", "1.0", TINY)
    shipped = tmp_path / "site" / "python"
    shipped.write_text(f'#!/bin/sh\necho used >> {tmp_path}/used\nexec {sys.executable} "$@"\n')
    shipped.chmod(0o755)
    policy = "environment: {install_requirements: true, wheelhouse: house, python: python}\n"
    _, _, found = await _prepare(tmp_path, lock, policy)
    assert found is not None
    assert (tmp_path / "used").exists()


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("environment: {install_requirements: true, python: nowhere}\n", "cannot be started"),
        ("environment: {install_requirements: true, wheelhouse: nowhere}\n", "no such wheelhouse"),
    ],
)
async def test_a_wrong_policy_is_named(tmp_path: Path, policy: str, told: str) -> None:
    with pytest.raises(RequirementsError, match=told):
        await _prepare(tmp_path, f"tiny==1 --hash=sha256:{'a' * 64}\n", policy)


def test_a_lock_is_made_of_what_pip_finds(tmp_path: Path) -> None:
    house = tmp_path / "house"
    line = write_wheel(house, "tiny_thing", "1.0", TINY)
    write_wheel(house, "other", "2.0", {"other.py": ""})
    (tmp_path / "requirements.txt").write_text("tiny_thing<2\nother\n")
    assert lock_requirements(tmp_path, house, ["Other"]) == 1
    assert (tmp_path / "requirements.lock").read_text() == line.replace("tiny_thing", "tiny-thing") + "\n"
    (tmp_path / "requirements.txt").write_text("missing\n")
    with pytest.raises(RequirementsError, match="missing"):
        lock_requirements(tmp_path, house)
