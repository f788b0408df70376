"""A referee that is hostile, or only wrong: whoever asks it goes on, and knows what it did."""

import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pytest

from openfl_like.aggregation.rules import BlockRule
from openfl_like.aggregation.server_optimizers import ServerOptimizer
from openfl_like.aggregation.steps import Block
from openfl_like.aggregation.validators import Validator
from openfl_like.errors import UpdateRefusedError
from openfl_like.federation.control.decision import Controller, ControlView
from openfl_like.federation.failure import FailedPartError, FailureKind
from openfl_like.federation.participation.selection import SelectionView, Selector
from openfl_like.federation.task import Phase, Update
from openfl_like.plan.section import Component
from openfl_like.processes.referee.limits import RefereeLimits
from openfl_like.processes.referee.parts import RefereeParts
from openfl_like.processes.sandbox.confinement import available
from openfl_like.tensors.container import TensorFile, write_tensors

pytestmark = [
    pytest.mark.children,
    pytest.mark.skipif(not available().sufficient, reason="this kernel cannot confine a referee"),
]
CODE = """
import ctypes, os, pathlib, signal, socket, subprocess, sys, threading, time
import numpy as np
from openfl_like.federation.control.decision import Control, EndExperiment, SkipSite
from openfl_like.errors import UpdateRefusedError

def sockets():
    for fd in range(3, 64):
        try:
            yield socket.socket(fileno=os.dup(fd))
        except OSError:
            continue

def garble(data):
    for one in sockets():
        try:
            one.sendall(data)
        except OSError:
            pass
    time.sleep(60)

def too_many():
    try:
        held = [os.memfd_create(str(number)) for number in range(1000)]
    except OSError as error:
        raise RuntimeError("held back") from error

def threads():
    done = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join()
    raise RuntimeError(f"{len(done)} thread")

def crowds():
    threading.stack_size(32768)
    until = threading.Event()
    while True:
        threading.Thread(target=until.wait, args=(30,), daemon=True).start()
        time.sleep(0.001)

def floods():
    for number in range(1 << 30):
        print(number)

def stays():
    if ctypes.CDLL(None, use_errno=True).prctl(1, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "its end is bound to its parent's")

DEEDS = {
    "reads a key": lambda: open(KEY).read(),
    "sees other folders": lambda: os.listdir(pathlib.Path(KEY).parent),
    "writes a file": lambda: open(pathlib.Path(__file__).parent / "left", "w").write("x"),
    "fills memory files": lambda: os.ftruncate(os.memfd_create("x"), 1 << 34),
    "opens many files": too_many,
    "forks": lambda: os.fork(),
    "starts a program": lambda: subprocess.run(["/bin/true"]),
    "has threads": threads,
    "allocates 10 GB": lambda: np.ones(10 << 27).sum(),
    "has hundreds of threads": crowds,
    "prints without end": floods,
    "outlives its parent": stays,
    "leaves its session": lambda: os.setsid(),
    "leaves its group": lambda: os.setpgid(0, 0),
    "opens a socket": lambda: socket.socket(socket.AF_UNIX),
    "stops everybody": lambda: os.kill(-1, signal.SIGSTOP),
    "has its parent signalled": lambda: __import__("fcntl").fcntl(0, __import__("fcntl").F_SETOWN, os.getppid()),
    "connects": lambda: socket.create_connection(("127.0.0.1", 9)),
    "signals its parent": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "reads its parent's memory": lambda: open(f"/proc/{os.getppid()}/environ", "rb").read(),
    "takes a while": lambda: time.sleep(0.7),
    "sleeps": lambda: time.sleep(60),
    "spins": lambda: [None for _ in iter(int, 1)],
    "exits": lambda: os._exit(3),
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "raises": lambda: 1 / 0,
    "leaves": lambda: sys.exit("enough"),
    "answers garbage": lambda: garble(b"garbage" * 100),
    "answers no end": lambda: garble(b"\\x7f\\xff\\xff\\xff"),
    "answers something else": lambda: garble(b"\\x00\\x00\\x00\\x04[[]]"),
    "asks for what there is not": lambda: garble(b'\\x00\\x00\\x00\\x19{"pull": ["key", 0, 0, 0]}'),
}

class Selector:
    def __init__(self, deed="", answer=None):
        self.deed, self.answer = deed, answer
    def wanted(self, view):
        return 2
    def eligible(self, names):
        return names
    def select(self, view):
        if self.deed:
            DEEDS[self.deed]()
        return view.present[:2] if self.answer is None else self.answer

class Rule:
    def __init__(self, deed):
        self.deed = deed
    def reduce(self, blocks, weights):
        size = blocks.shape[1]
        match self.deed:
            case "nan": return np.full(size, np.nan)
            case "infinite": return np.full(size, np.inf)
            case "short": return np.zeros(size - 1)
            case "other dtype": return np.zeros(size, np.float32)
            case "objects": return np.array([object()] * size)
            case "huge": return np.zeros(1 << 24)
            case "none": return None
            case "list": return [0.0] * size
            case "refuses": raise UpdateRefusedError("too few", cure="send more")
        return blocks[0]

class Optimizer:
    def __init__(self, slots):
        self.slots = slots
    def step(self, base, target, state, number):
        state[:] = np.nan
        return target

class Controller:
    def __init__(self, answer):
        self.answer = answer
    def decide(self, view):
        if self.answer == "hoards":
            return Control((), ["x" * 1000] * 2000)
        if self.answer == "object":
            return Control((), object())
        return Control((EndExperiment("x" * 5000),)) if self.answer == "long" else self.answer

class Validator:
    def __init__(self, answer=""):
        self.answer = answer
    def check(self, update, base, facts):
        if self.answer == "reads":
            flat = update.flat("w")
            shape, samples = update.tensor("w").shape, facts.num_samples
            return f"{flat[2:5].tolist()} {shape} {flat[3:3].size} {samples} {base is None}"
        return self.answer

class Unfit:
    pass
"""


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Builds parts of hostile code: kind, class, settings."""
    workspace, key = tmp_path / "workspace", tmp_path / "secret" / "key.pem"
    for folder in (workspace, key.parent):
        folder.mkdir()
    key.write_text("secret")
    (workspace / "hostile.py").write_text(f"KEY = {str(key)!r}\n{textwrap.dedent(CODE)}")
    found = RefereeParts(workspace, RefereeLimits(decision_s=1.0, block_s=2.0, memory_mb=1024))

    def build(kind: str, name: str, **settings: object) -> Any:  # noqa: ANN401 - of any kind
        return found.build(kind, Component(template=f"hostile:{name}", settings=cast("Any", settings)), kind)

    yield build
    pids = [referee.pid for referee in (found.decisions, found.numbers) if referee.pid]
    found.close()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert sorted(path.name for path in workspace.iterdir()) == ["hostile.py"]


VIEW = SelectionView.of(("a", "b", "c"), 2)


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("reads a key", "raised PermissionError: [Errno 13] Permission denied: '"),
        ("sees other folders", "raised PermissionError: [Errno 13] Permission denied"),
        ("writes a file", "raised PermissionError"),
        ("fills memory files", "raised OSError: [Errno 27] File too large"),
        ("opens many files", "raised RuntimeError: held back"),
        ("forks", "raised PermissionError: [Errno 1] Operation not permitted"),
        ("starts a program", "raised PermissionError: [Errno 1] Operation not permitted"),
        ("has threads", "raised RuntimeError: 1 thread"),
        ("allocates 10 GB", "raised _ArrayMemoryError: Unable to allocate 10.0 GiB|raised MemoryError"),
        ("has hundreds of threads", "was ended: it had "),
        ("prints without end", "was ended: it printed more than 11,000 lines"),
        ("outlives its parent", "raised PermissionError: [Errno 1] its end is bound"),
        ("leaves its session", "raised PermissionError: [Errno 1] Operation not permitted"),
        ("leaves its group", "raised PermissionError: [Errno 1] Operation not permitted"),
        ("opens a socket", "raised PermissionError: [Errno 1] Operation not permitted"),
        ("stops everybody", "raised PermissionError: [Errno 1] Operation not permitted"),
        ("has its parent signalled", "raised PermissionError: [Errno 1] Operation not permitted"),
        ("connects", "raised PermissionError: [Errno 1] Operation not permitted"),
        ("signals its parent", "raised PermissionError: [Errno 1] Operation not permitted"),
        ("reads its parent's memory", "raised PermissionError"),
        ("sleeps", "did not answer within 1 s"),
        ("spins", "did not answer within 1 s|raised MemoryError"),
        ("exits", "ended the referee: exit code 3"),
        ("is killed", "ended the referee: killed by SIGKILL"),
        ("raises", "raised ZeroDivisionError: division by zero"),
        ("leaves", "ended the referee: exit code 1; last line: enough"),
        ("answers garbage", "gave an answer that is not one"),
        ("answers no end", "gave an answer that is not one: a message of 2,147,483,647 bytes"),
        ("answers something else", "gave an answer that is not one: it is a list"),
        ("asks for what there is not", "gave an answer that is not one|did not answer"),
    ],
)
def test_whatever_it_does_is_told_and_nothing_else_happens(parts: Callable[..., Any], deed: str, told: str) -> None:
    selector = cast("Selector", parts("selector", "Selector", deed=deed))
    begun = time.monotonic()
    with pytest.raises(FailedPartError) as caught:
        selector.select(VIEW)
    assert time.monotonic() - begun < 20
    message = caught.value.failure.message
    assert any(f"the selector 'hostile:Selector' {one}" in message for one in told.split("|")), message
    assert caught.value.failure.kind is FailureKind.PART
    assert "\n" not in caught.value.failure.message


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (["a", "nobody"], "named 'nobody', which is none of those that it was shown"),
        (["a", "b", "c"], "chose 3 sites where 2 are wanted"),
        (["a", "a"], "named a site twice"),
        ([1, 2], "answered [1, 2], which is not a list of names"),
    ],
)
def test_a_selector_chooses_among_those_that_it_is_shown(parts: Callable[..., Any], answer: object, told: str) -> None:
    with pytest.raises(FailedPartError) as caught:
        parts("selector", "Selector", answer=answer).select(VIEW)
    assert any(one in caught.value.failure.message for one in told.split("|")), caught.value.failure.message


def test_one_that_has_failed_fails_for_the_same_reason_ever_after(parts: Callable[..., Any]) -> None:
    selector, other = (cast("Selector", parts("selector", "Selector", deed=deed)) for deed in ("is killed", ""))
    assert other.select(VIEW) == ("a", "b")
    for asked in (selector, other):
        with pytest.raises(FailedPartError, match="'hostile:Selector' ended the referee: killed by SIGKILL"):
            asked.select(VIEW)


def test_what_raises_leaves_the_others_as_they_are(parts: Callable[..., Any]) -> None:
    selector, other = (cast("Selector", parts("selector", "Selector", deed=deed)) for deed in ("raises", ""))
    with pytest.raises(FailedPartError, match=r"hostile\.py:"):
        selector.select(VIEW)
    assert other.select(VIEW) == ("a", "b")


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("nan", "answered a value that is not finite"),
        ("infinite", "answered a value that is not finite"),
        ("short", "answered float64[6] instead of float64[7]"),
        ("other dtype", "answered float32[7] instead of float64[7]"),
        ("objects", "answered object[7] instead of float64[7]"),
        ("none", "answered None instead of float64[7]"),
        ("list", "answered [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0] instead of float64[7]"),
        ("huge", "answered float64[16777216] instead of float64[7]"),
    ],
)
def test_a_block_is_looked_at(parts: Callable[..., Any], deed: str, told: str) -> None:
    rule = cast("BlockRule", parts("aggregation", "Rule", deed=deed))
    with pytest.raises(FailedPartError) as caught:
        rule.reduce(np.ones((3, 7)), np.full(3, 1 / 3))
    assert told in caught.value.failure.message, caught.value.failure.message
    assert caught.value.failure.message.startswith("the aggregation rule 'hostile:Rule'")


def test_what_it_may_raise_it_may_raise(parts: Callable[..., Any]) -> None:
    with pytest.raises(UpdateRefusedError, match="too few") as caught:
        parts("aggregation", "Rule", deed="refuses").reduce(np.ones((3, 7)), np.full(3, 1 / 3))
    assert caught.value.cure == "send more"


def test_values_that_are_not_finite_are_nobody_s_fault_who_was_shown_them(parts: Callable[..., Any]) -> None:
    shown = np.array([[np.nan, 1.0], [2.0, 3.0]])
    assert np.isnan(parts("aggregation", "Rule", deed="").reduce(shown, np.ones(2) / 2)[0])


def test_state_is_looked_at_and_slots_are_names(parts: Callable[..., Any]) -> None:
    optimizer = cast("ServerOptimizer", parts("server_optimizer", "Optimizer", slots=["way"]))
    block = Block(np.ones((1, 4)), np.ones(4), np.zeros((1, 4)))
    with pytest.raises(FailedPartError, match="not finite"):
        optimizer.step(block.base, block.base, block.state, 1)
    assert not block.state.any()
    for slots in (["../x"], ["a", "a"], [3], [f"s{number}" for number in range(9)]):
        with pytest.raises(FailedPartError, match="is not what one must be"):
            parts("server_optimizer", "Optimizer", slots=slots)


def test_what_a_controller_says_is_bounded_and_of_its_kind(parts: Callable[..., Any]) -> None:
    view = ControlView(1, None, (), ("a",))
    (decision,) = cast("Controller", parts("controller", "Controller", answer="long")).decide(view).decisions
    assert len(cast("Any", decision).reason) == 2000
    with pytest.raises(FailedPartError, match="gave a state of more than 1,048,576 characters"):
        parts("controller", "Controller", answer="hoards").decide(view)
    with pytest.raises(
        FailedPartError, match=r"gave the state <object .*>, which cannot be written as JSON: Object of"
    ):
        parts("controller", "Controller", answer="object").decide(view)
    with pytest.raises(FailedPartError, match="decided None, which is not a Control"):
        parts("controller", "Controller", answer=None).decide(view)
    with pytest.raises(FailedPartError, match="decided 'nothing of the kind', which is not a Control"):
        parts("controller", "Controller", answer="nothing of the kind").decide(view)


def test_a_validator_asks_for_what_it_wants_to_see(parts: Callable[..., Any], tmp_path: Path) -> None:
    write_tensors(tmp_path / "model", {"w": np.arange(12, dtype=np.float32).reshape(3, 4)}, sync=False)
    facts = Update(1, Phase.TRAIN, "a", "d", 5)
    with TensorFile(tmp_path / "model") as model:
        checked = cast("Validator", parts("validator", "Validator", answer="reads")).check(model, None, facts)
        assert checked == "[2.0, 3.0, 4.0] (3, 4) 0 5 True"
        with pytest.raises(FailedPartError, match=r"answered \['no'\], which is not a text"):
            parts("validator", "Validator", answer=["no"]).check(model, model, facts)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("Unfit", {}, "does not have what one must have: wanted, eligible, select"),
        ("Selector", {"x": 1}, "cannot be built: Selector.__init__() got an unexpected keyword argument 'x'"),
        ("Selectr", {}, "cannot be built: the module 'hostile' has no 'Selectr'; did you mean 'Selector'?"),
    ],
)
def test_what_cannot_be_built_is_told_with_its_name(
    parts: Callable[..., Any], name: str, settings: dict[str, object], told: str
) -> None:
    with pytest.raises(FailedPartError) as caught:
        parts("selector", name, **settings)
    assert caught.value.failure.message == f"the selector 'hostile:{name}' {told}"


def test_decisions_that_follow_each_other_share_their_time(parts: Callable[..., Any]) -> None:
    slow = [cast("Selector", parts("selector", "Selector", deed="takes a while")) for _ in range(6)]
    begun = time.monotonic()
    with pytest.raises(FailedPartError, match=r"was not asked any more: decisions took more than 2 s in a row"):
        [one.select(VIEW) for one in slow]
    assert time.monotonic() - begun < 10
