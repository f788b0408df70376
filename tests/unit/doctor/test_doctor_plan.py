"""Plans and workspaces with mistakes, as far as no process is needed."""

from pathlib import Path

import numpy as np
import pytest

from openfl_like.doctor.checks import run_checks
from openfl_like.doctor.finding import Finding, Verdict
from openfl_like.doctor.plan import Study, packages
from openfl_like.plan.lock import LOCK_NAME
from openfl_like.testing.faults.toy_workload import write_workspace


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return write_workspace(tmp_path / "workspace", {"site-1": 1.0})[0]


async def look(plan: Path) -> dict[str, Finding]:
    checks = [check for check in Study(str(plan), 10.0).checks() if check.name != "trial"]
    return {one.name: one for one in await run_checks(checks)}


async def test_a_plan_in_order_gives_nothing_to_do(plan: Path) -> None:
    assert {one.verdict for one in (await look(plan)).values()} == {Verdict.OK}


async def test_an_unknown_key_is_told_with_its_line(plan: Path) -> None:
    with plan.open("a") as file:
        file.write("deadlines: {}\nseed: much\n")
    found = await look(plan)
    assert len(found["plan"].problems) == 2
    assert "unknown key; did you mean 'deadline'?" in found["plan"].problems[0]
    assert found["plan"].cure
    assert found["workspace"].verdict is Verdict.SKIP


async def test_a_workspace_that_cannot_be_packed_is_told(plan: Path) -> None:
    (plan.parent / "README.md").symlink_to("/etc/passwd")
    found = (await look(plan))["workspace"]
    assert "E103" in found.seen
    assert "README.md" in found.seen


def test_packages_that_are_missing_or_others_are_listed(tmp_path: Path) -> None:
    assert "neither" in packages(tmp_path, None).seen
    (tmp_path / "requirements.txt").write_text("# ours\nnumpy>=1.26\nno-such-package[extra]==1.0\nclick==0.1\n")
    found = packages(tmp_path, None)
    assert found.verdict is Verdict.WARN
    assert found.problems[0] == "no-such-package is not installed"
    assert found.problems[1].startswith("click is ")
    assert found.cure.startswith(f"fx workspace lock {tmp_path}")
    assert found.seen == (
        "there is requirements.txt, but no requirements.lock beside it: no site installs anything; "
        "2 of it are missing here or of another version"
    )


def test_requirements_without_a_lock_are_told_even_if_they_are_installed_here(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    found = packages(tmp_path, None)
    assert found.verdict is Verdict.OK
    assert "no site installs anything" in found.seen
    (tmp_path / LOCK_NAME).write_text(f"numpy=={np.__version__} --hash=sha256:{'0' * 64}\n")
    assert packages(tmp_path, None).verdict is Verdict.OK


def test_a_lock_counts_as_there_where_the_site_installs_it(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text(f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")
    shard = tmp_path / "shard.yaml"
    shard.write_text("template: heart_disease\nenvironment: {install_requirements: true}\n")
    assert packages(tmp_path, None).verdict is Verdict.WARN
    assert packages(tmp_path, shard).verdict is Verdict.OK
    shard.write_text("template: [")
    assert packages(tmp_path, shard).verdict is Verdict.WARN
