"""What a process gives up by confining itself: real processes try it, with and without walls, as root and as a user."""

import encodings.idna  # noqa: F401 (an ordinary user may not read the library of the interpreter that root has)
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from openfl_like.data.shard_file import ShardConfig
from openfl_like.processes.sandbox import seccomp
from openfl_like.processes.sandbox.confinement import available, confine
from openfl_like.processes.sandbox.kernel import process_control, system_call
from openfl_like.processes.sandbox.landlock import Access
from openfl_like.processes.sandbox.reach import WorkerPlaces, rules_of
from openfl_like.processes.sandbox.trial import Targets, Trial, TrialOutcome, perform

pytestmark = pytest.mark.process
NOBODY = 65534
PR_SET_DUMPABLE = 4
SOMETHING_MISSING = f"this kernel does not offer every wall: a worker would be {available()}"
complete = pytest.mark.skipif(bool(available().gaps), reason=SOMETHING_MISSING)
USERS = [
    pytest.param(None, id="as who runs the tests"),
    pytest.param(NOBODY, id="as an ordinary user", marks=pytest.mark.skipif(os.getuid() != 0, reason="needs root")),
]
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
BY_RIGHTS_ONLY = {"make a device", "become another user"}
"""What an ordinary user cannot do anyway."""


@pytest.fixture(scope="module")
def alone() -> Iterator[ProcessPoolExecutor]:
    """A process that has never had a second thread, to fork from: a lock that gRPC's threads hold aborts a child."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        yield process


def child_says(work: Callable[[], object], user: int | None = None) -> object:
    """What a child answers that has forked off and become this user, as JSON; an exception is a failure."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            if user is not None:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                process_control(PR_SET_DUMPABLE, 1)  # as if it had been started by that user
            os.write(writing, json.dumps(work()).encode())
            status = 0
        except Exception as error:  # noqa: BLE001 (the parent says it)
            os.write(writing, repr(error).encode())
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read()
    assert os.waitpid(child, 0)[1] == 0, said
    return json.loads(said)


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


@pytest.fixture
def abstract(tmp_path: Path) -> Iterator[str]:
    name = f"fx-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("\0" + name)
        listening.listen()
        yield name


def _performed(trial: Trial) -> object:
    os.chdir(trial.directory)
    return asdict(perform(trial))


def _performed_in_child(trial: Trial) -> object:
    of_this_process = replace(trial, targets=replace(trial.targets, parent=os.getpid()))
    return child_says(partial(_performed, of_this_process))


@pytest.fixture
def trial(tmp_path: Path, port: int, abstract: str) -> Trial:
    """A worker's folder, and what it is not to reach."""
    work, other, outside = tmp_path / "work", tmp_path / "other", tmp_path / "outside"
    code, key, shard = files = [other / "code.py", tmp_path / "key.pem", tmp_path / "shard.yaml"]
    for folder in (work, other, outside):
        folder.mkdir()
    for path in files:
        path.write_text("template: breast_cancer\n")
        path.chmod(0o600)
    return Trial(str(shard), str(work), Targets(str(key), str(code.parent), str(outside), os.getpid(), port, abstract))


def tried(alone: ProcessPoolExecutor, trial: Trial, user: int | None) -> TrialOutcome:
    """Performs a trial in the child of a child, both of this user, to whom all files belong."""
    top, temporary = Path(trial.directory).parent, Path(tempfile.gettempdir())
    for folder in (top, *(path for path in top.parents if path != temporary and path.is_relative_to(temporary))):
        folder.chmod(0o755)
    for path in top.rglob("*"):
        os.chown(path, user if user is not None else -1, -1)
    answer = alone.submit(child_says, partial(_performed_in_child, trial), user).result()
    assert isinstance(answer, dict)
    return TrialOutcome.of(answer)


@pytest.mark.parametrize("user", USERS)
def test_without_walls_submitted_code_reaches_everything(
    alone: ProcessPoolExecutor, trial: Trial, user: int | None
) -> None:
    outcome = tried(alone, replace(trial, confined=False), user)
    closed = {attempt.what for attempt in outcome.attempts if not attempt.reached}
    expected = set() if user is None and os.getuid() == 0 else BY_RIGHTS_ONLY
    if YAMA.exists() and YAMA.read_text().strip() != "0":
        closed -= {"trace the parent"}
    assert closed == expected


@complete
@pytest.mark.parametrize("user", USERS)
def test_within_walls_it_reaches_nothing_of_that(alone: ProcessPoolExecutor, trial: Trial, user: int | None) -> None:
    outcome = tried(alone, trial, user)
    assert outcome.confinement == available()
    assert [attempt for attempt in outcome.attempts if attempt.reached] == []
    assert len(outcome.attempts) == 19
    assert list(Path(trial.targets.outside).iterdir()) == []


def _errno_of(call: Callable[[], object]) -> str:
    try:
        call()
    except OSError as error:
        return type(error).__name__
    return "done"


def _sets_modes(work: Path, key: Path) -> object:
    confine([(work, Access.OWN)])
    (work / "one").write_text("text")
    shutil.copy(work / "one", work / "two")
    key.chmod(0o644)
    os.chown(key, NOBODY, NOBODY)
    return (work / "two").read_text()


@complete
def test_modes_and_owners_stay_as_they_are_and_what_sets_those_of_its_own_files_goes_on(
    alone: ProcessPoolExecutor, tmp_path: Path
) -> None:
    work, key = tmp_path / "work", tmp_path / "key.pem"
    work.mkdir()
    key.write_text("secret")
    key.chmod(0o600)
    assert alone.submit(child_says, partial(_sets_modes, work, key)).result() == "text"
    assert (key.stat().st_mode & 0o777, key.stat().st_uid) == (0o600, os.getuid())


def _uses_what_workers_use(top: Path) -> object:
    os.chdir(top / "work")
    confine(rules_of(WorkerPlaces(top / "shard.yaml", Path.cwd()), ShardConfig(template="breast_cancer")))
    Path("folder").mkdir()
    Path("folder", "file").write_text("text")
    Path("folder", "file").rename("moved")
    Path("link").symlink_to("moved")
    left, right = socket.socketpair()
    left.send(b"x")
    program = "import multiprocessing, threading; threading.Thread(target=print).start(); multiprocessing.Lock()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return [Path("link").read_text(), right.recv(1).decode(), done.returncode, done.stderr]


@complete
def test_what_a_worker_needs_goes_on_within_walls(alone: ProcessPoolExecutor, tmp_path: Path) -> None:
    (tmp_path / "shard.yaml").write_text("template: breast_cancer\n")
    (tmp_path / "work").mkdir()
    assert alone.submit(child_says, partial(_uses_what_workers_use, tmp_path)).result() == ["text", "x", 0, ""]


def _child_is_refused(secret: Path) -> object:
    confine([(Path(folder), Access.READ) for folder in ("/usr", "/lib", "/lib64", "/bin")])
    done = subprocess.run(["/bin/sh", "-c", f"cat {secret}"], capture_output=True, check=False)
    return done.returncode != 0 and done.stdout == b""


@complete
def test_what_a_child_of_it_tries_is_refused_as_well(alone: ProcessPoolExecutor, tmp_path: Path) -> None:
    secret = tmp_path / "key.pem"
    secret.write_text("secret")
    assert alone.submit(child_says, partial(_child_is_refused, secret)).result() is True


def _puts_links(work: Path, updates: Path, secret: Path) -> object:
    confine([(work, Access.OWN), (updates, Access.EXCHANGE)])
    (work / "link").symlink_to(secret)
    calls = (
        lambda: (updates / "update").symlink_to(secret),
        lambda: (work / "link").rename(updates / "update"),
        lambda: (updates / "update").hardlink_to(secret),
        lambda: os.mkfifo(updates / "update"),
    )
    (updates / "plain").write_text("an update")
    return [_errno_of(call) for call in calls]


@complete
def test_no_link_gets_into_a_folder_that_its_parent_looks_into(alone: ProcessPoolExecutor, tmp_path: Path) -> None:
    work, updates, secret = tmp_path / "work", tmp_path / "updates", tmp_path / "key.pem"
    secret.write_text("secret")
    work.mkdir()
    updates.mkdir()
    refused = alone.submit(child_says, partial(_puts_links, work, updates, secret)).result()
    assert set(json.loads(json.dumps(refused))) <= {"PermissionError", "OSError"}
    assert [path.name for path in updates.iterdir()] == ["plain"]


def _calls_by_other_numbers() -> object:
    confine([])
    ptrace = seccomp.REFUSED["ptrace"].x86_64 or 0
    return [_errno_of(partial(system_call, number, 0, 0, None)) for number in (ptrace, ptrace | 0x40000000)]


@complete
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only there calls have a second set of numbers")
def test_calls_by_their_other_numbers_are_refused_too(alone: ProcessPoolExecutor) -> None:
    assert alone.submit(child_says, _calls_by_other_numbers).result() == ["PermissionError", "OSError"]


def _asks_for_a_namespace() -> object:
    confine([])
    new_user, clone3 = 0x10000000 | signal.SIGCHLD, 435
    return [_errno_of(lambda: system_call(56, new_user, None)), _errno_of(lambda: system_call(clone3, None, 0))]


@complete
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="clone has another number elsewhere")
def test_a_new_namespace_is_refused_by_either_call(alone: ProcessPoolExecutor) -> None:
    assert alone.submit(child_says, _asks_for_a_namespace).result() == ["PermissionError", "OSError"]
