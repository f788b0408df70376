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
from dataclasses import asdict
from functools import partial
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


def tried(tmp_path: Path, user: int | None, port: int, abstract: str, *, confined: bool) -> TrialOutcome:
    """Performs a trial in the child of a child, both of this user, to whom all files belong."""
    work, other, outside = tmp_path / "work", tmp_path / "other", tmp_path / "outside"
    top = Path(tempfile.gettempdir())
    for folder in (tmp_path, *(path for path in tmp_path.parents if path != top and path.is_relative_to(top))):
        folder.chmod(0o755)
    files = [other / "code.py", tmp_path / "key.pem", tmp_path / "shard.yaml"]
    for folder in (work, other, outside):
        folder.mkdir()
    for path in files:
        path.write_text("template: breast_cancer\n")
        path.chmod(0o600)
    for path in (work, other, outside, *files):
        os.chown(path, user if user is not None else -1, -1)

    def parent() -> object:
        targets = Targets(str(files[1]), str(other), str(outside), os.getpid(), port, abstract)
        return child_says(lambda: child(Trial(str(files[2]), str(work), targets, confined)))

    def child(trial: Trial) -> object:
        os.chdir(work)
        return asdict(perform(trial))

    answer = child_says(parent, user)
    assert isinstance(answer, dict)
    return TrialOutcome.of(answer)


@pytest.mark.parametrize("user", USERS)
def test_without_walls_submitted_code_reaches_everything(
    tmp_path: Path, port: int, abstract: str, user: int | None
) -> None:
    outcome = tried(tmp_path, user, port, abstract, confined=False)
    closed = {attempt.what for attempt in outcome.attempts if not attempt.reached}
    expected = set() if user is None and os.getuid() == 0 else BY_RIGHTS_ONLY
    if YAMA.exists() and YAMA.read_text().strip() != "0":
        closed -= {"trace the parent"}
    assert closed == expected


@complete
@pytest.mark.parametrize("user", USERS)
def test_within_walls_it_reaches_nothing_of_that(tmp_path: Path, port: int, abstract: str, user: int | None) -> None:
    outcome = tried(tmp_path, user, port, abstract, confined=True)
    assert outcome.confinement == available()
    assert [attempt for attempt in outcome.attempts if attempt.reached] == []
    assert len(outcome.attempts) == 19
    assert list((tmp_path / "outside").iterdir()) == []


def _errno_of(call: Callable[[], object]) -> str:
    try:
        call()
    except OSError as error:
        return type(error).__name__
    return "done"


@complete
def test_modes_and_owners_stay_as_they_are_and_what_sets_those_of_its_own_files_goes_on(tmp_path: Path) -> None:
    work, key = tmp_path / "work", tmp_path / "key.pem"
    work.mkdir()
    key.write_text("secret")
    key.chmod(0o600)

    def tries() -> object:
        confine([(work, Access.OWN)])
        (work / "one").write_text("text")
        shutil.copy(work / "one", work / "two")
        key.chmod(0o644)
        os.chown(key, NOBODY, NOBODY)
        return (work / "two").read_text()

    assert child_says(tries) == "text"
    assert (key.stat().st_mode & 0o777, key.stat().st_uid) == (0o600, os.getuid())


@complete
def test_what_a_worker_needs_goes_on_within_walls(tmp_path: Path) -> None:
    (tmp_path / "shard.yaml").write_text("template: breast_cancer\n")
    (tmp_path / "work").mkdir()

    def work() -> object:
        os.chdir(tmp_path / "work")
        confine(rules_of(WorkerPlaces(tmp_path / "shard.yaml", Path.cwd()), ShardConfig(template="breast_cancer")))
        Path("folder").mkdir()
        Path("folder", "file").write_text("text")
        Path("folder", "file").rename("moved")
        Path("link").symlink_to("moved")
        left, right = socket.socketpair()
        left.send(b"x")
        program = "import multiprocessing, threading; threading.Thread(target=print).start(); multiprocessing.Lock()"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        return [Path("link").read_text(), right.recv(1).decode(), done.returncode, done.stderr]

    assert child_says(work) == ["text", "x", 0, ""]


@complete
def test_what_a_child_of_it_tries_is_refused_as_well(tmp_path: Path) -> None:
    secret = tmp_path / "key.pem"
    secret.write_text("secret")

    def work() -> object:
        confine([(Path(folder), Access.READ) for folder in ("/usr", "/lib", "/lib64", "/bin")])
        done = subprocess.run(["/bin/sh", "-c", f"cat {secret}"], capture_output=True, check=False)
        return done.returncode != 0 and done.stdout == b""

    assert child_says(work) is True


@complete
def test_no_link_gets_into_a_folder_that_its_parent_looks_into(tmp_path: Path) -> None:
    work, updates, secret = tmp_path / "work", tmp_path / "updates", tmp_path / "key.pem"
    secret.write_text("secret")
    work.mkdir()
    updates.mkdir()

    def tries() -> object:
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

    assert set(json.loads(json.dumps(child_says(tries)))) <= {"PermissionError", "OSError"}
    assert [path.name for path in updates.iterdir()] == ["plain"]


@complete
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only there calls have a second set of numbers")
def test_calls_by_their_other_numbers_are_refused_too() -> None:
    def tries() -> object:
        confine([])
        ptrace = seccomp.REFUSED["ptrace"].x86_64 or 0
        return [_errno_of(partial(system_call, number, 0, 0, None)) for number in (ptrace, ptrace | 0x40000000)]

    assert child_says(tries) == ["PermissionError", "OSError"]


@complete
def test_a_new_namespace_is_refused_by_either_call() -> None:
    def tries() -> object:
        confine([])
        new_user, clone3 = 0x10000000 | signal.SIGCHLD, 435
        return [_errno_of(lambda: system_call(56, new_user, None)), _errno_of(lambda: system_call(clone3, None, 0))]

    if os.uname().machine == "x86_64":
        assert child_says(tries) == ["PermissionError", "OSError"]
