"""What a worker keeps of its rights, and what a confinement is called that the kernel offers in part."""

import errno
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import SettingsError
from openfl_like.processes.sandbox import seccomp
from openfl_like.processes.sandbox.confinement import Confinement, Wall
from openfl_like.processes.sandbox.reach import WorkerPlaces, rules_of


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_jumps_within_itself_and_ends_with_an_answer(machine: str) -> None:
    program = list(struct.iter_unpack("=HBBI", seccomp.program_for(machine)))
    assert 50 < len(program) < 4096
    for place, (code, yes, no, _) in enumerate(program):
        if code & 0x07 == 0x05:
            assert place + 1 + max(yes, no) < len(program)
    assert program[-1] == (0x06, 0, 0, 0x7FFF0000)


def verdict(program: list[tuple[int, int, int, int]], architecture: int, number: int, *arguments: int) -> int:
    """Runs a filter as the kernel does, and returns its answer to a call."""
    words = {0: number, 4: architecture} | {16 + 8 * i: argument for i, argument in enumerate(arguments)}
    place, held = 0, 0
    while True:
        code, yes, no, operand = program[place]
        place += 1
        match code:
            case 0x20:
                held = words.get(operand, 0)
            case 0x06:
                return operand
            case 0x15:
                place += yes if held == operand else no
            case 0x35:
                place += yes if held >= operand else no
            case 0x45:
                place += yes if held & operand else no


ALLOWED, REFUSED = 0x7FFF0000, 0x00050000 | errno.EPERM
CALLS = {
    "sched_setaffinity": (203, 122), "setpriority": (141, 140), "ioprio_set": (251, 30), "prlimit64": (302, 261),
    "sched_setscheduler": (144, 119), "move_pages": (279, 239),
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("sched_setaffinity", (0, 8), ALLOWED),
        ("sched_setaffinity", (4711, 8), REFUSED),
        ("sched_setscheduler", (4711, 0), REFUSED),
        ("move_pages", (4711,), REFUSED),
        ("prlimit64", (0, 7), ALLOWED),
        ("prlimit64", (4711, 7), REFUSED),
        ("setpriority", (0, 0, 10), ALLOWED),
        ("setpriority", (0, 4711, 10), REFUSED),
        ("setpriority", (1, 0, 10), REFUSED),  # its group of processes: its parent is in it
        ("setpriority", (2, 0, 10), REFUSED),  # all of its user
        ("ioprio_set", (1, 0, 0), ALLOWED),
        ("ioprio_set", (1, 4711, 0), REFUSED),
        ("ioprio_set", (3, 0, 0), REFUSED),
    ],
)
@pytest.mark.parametrize(("machine", "architecture", "column"), [("x86_64", 0xC000003E, 0), ("aarch64", 0xC00000B7, 1)])
def test_a_worker_decides_when_and_where_itself_runs_and_nobody_else(
    machine: str, architecture: int, column: int, call: str, arguments: tuple[int, ...], expected: int
) -> None:
    program = list(struct.iter_unpack("=HBBI", seccomp.program_for(machine)))
    assert verdict(program, architecture, CALLS[call][column], *arguments) == expected


@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ((157, 167), (1, 0), REFUSED),  # PR_SET_PDEATHSIG
        ((157, 167), (4, 0), REFUSED),  # PR_SET_DUMPABLE
        ((157, 167), (15,), ALLOWED),  # PR_SET_NAME
        ((112, 157), (), REFUSED),  # setsid
        ((109, 154), (0, 0), REFUSED),  # setpgid
        ((56, 220), (0x00010000,), ALLOWED),  # a thread
        ((56, 220), (17,), REFUSED),  # a process
        ((62, 129), (4711, 9), ALLOWED),
        ((62, 129), (4712, 9), REFUSED),
    ],
)
@pytest.mark.parametrize(("machine", "architecture", "column"), [("x86_64", 0xC000003E, 0), ("aarch64", 0xC00000B7, 1)])
def test_whoever_is_sealed_off_has_threads_and_ends_with_its_parent(
    machine: str, architecture: int, column: int, call: tuple[int, int], arguments: tuple[int, ...], expected: int
) -> None:
    program = list(struct.iter_unpack("=HBBI", seccomp.sealing_program(machine, 4711)))
    assert verdict(program, architecture, call[column], *arguments) == expected


KERNEL = """
import os, pathlib, shutil, threading, resource
from openfl_like.processes.sandbox import kernel, seccomp
kernel.forbid_new_privileges()
seccomp.install()
pathlib.Path("a").touch(); shutil.copy2("a", "b"); os.nice(1)
os.sched_setaffinity(0, os.sched_getaffinity(0))
resource.prlimit(0, resource.RLIMIT_CORE, (0, 0))
threading.Thread(target=lambda: None).start()
for attempt in (
    lambda: os.sched_setaffinity(os.getppid(), os.sched_getaffinity(0)),
    lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 1),
    lambda: os.setpriority(os.PRIO_USER, 2**30, 1),
    lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE),
):
    try:
        attempt()
    except PermissionError:
        continue
    raise SystemExit("it was allowed")
"""


@pytest.mark.children
@pytest.mark.skipif(not seccomp.supported(), reason="this kernel has no such filter")
def test_the_kernel_does_what_the_filter_says_and_files_are_touched_and_copied(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KERNEL], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "b").exists()


def test_what_a_kernel_lacks_is_a_gap() -> None:
    assert Confinement(7, seccomp=True, no_new_privileges=True).gaps == ()
    older = Confinement(4, seccomp=True, no_new_privileges=True)
    assert older.gaps == (Wall.SIGNALS,)
    assert older.sufficient
    oldest = Confinement(1, seccomp=True, no_new_privileges=True)
    assert set(oldest.gaps) == {Wall.FILES, Wall.SIGNALS}
    assert not oldest.sufficient
    assert str(Confinement()) == "not confined (Landlock none, seccomp none)"
    assert "confined: processes" in str(oldest)


def test_what_a_shards_params_name_may_be_read_and_nothing_beside_it(tmp_path: Path) -> None:
    for name in ("data", "certs", "pkg", "own"):
        (tmp_path / name).mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "clinic.py").touch()
    (tmp_path / "table.csv").touch()
    (tmp_path / "shard.yaml").touch()
    config = ShardConfig.model_validate(
        {"template": "clinic:Shard", "params": {"paths": [{"a": "data"}, "nowhere"]}, "reads": ["table.csv"]}
    )
    config.params.update(decimal=".", sep="/", above="..", here=str(tmp_path))  # words, or what has all of a site in it
    rules = dict(rules_of(WorkerPlaces(tmp_path / "shard.yaml", tmp_path / "own"), config))
    within = {str(path.relative_to(tmp_path)): rules[path].value for path in rules if path.is_relative_to(tmp_path)}
    assert not {Path("/"), tmp_path.parent} & rules.keys()
    assert within == {
        ".": "list", "clinic.py": "read", "data": "read", "own": "own", "pkg": "read", "shard.yaml": "read",
        "table.csv": "read",
    }  # fmt: skip


def test_a_path_to_read_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "shard.yaml").touch()
    config = ShardConfig.model_validate({"template": "breast_cancer", "reads": ["no_such"]})
    with pytest.raises(SettingsError, match=r"reads: there is no .*no_such"):
        rules_of(WorkerPlaces(tmp_path / "shard.yaml", tmp_path), config)


def test_a_bare_off_is_a_level(tmp_path: Path) -> None:
    assert ShardConfig.model_validate({"template": "breast_cancer", "sandbox": False}).sandbox == "off"
    assert ShardConfig(template="breast_cancer").sandbox == "best"
