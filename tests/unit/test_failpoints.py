import ast
import errno
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import openfl_like
from openfl_like import failpoints
from openfl_like.failpoints import POINTS, Action, Armed, Clause, FailpointError, failpoint, parse

PACKAGE = Path(openfl_like.__file__).parent
POINT = "aggregator.publish.synced"


def used() -> list[str]:
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
                assert isinstance(node.args[0], ast.Constant), path
                found.append(str(node.args[0].value))
    return found


def test_every_point_of_the_table_is_used_exactly_once_and_every_used_one_is_in_it() -> None:
    assert Counter(used()) == Counter(POINTS.keys())


def test_there_are_enough_of_them_and_each_says_what_is_true_there() -> None:
    assert len(POINTS) >= 45
    assert [name for name, text in POINTS.items() if len(text) < 10 or text.endswith(".")] == []


def test_a_switch_is_read_with_all_its_parts() -> None:
    text = f"{POINT}=kill; director.submit.row.before=error:ENOSPC@3 \n worker.answer.before=delay:50@2+#again"
    assert parse(text) == {
        POINT: Clause(f"{POINT}=kill", POINT, Action.KILL),
        "director.submit.row.before": Clause(
            "director.submit.row.before=error:ENOSPC@3", "director.submit.row.before", Action.ERROR, "ENOSPC", 3
        ),
        "worker.answer.before": Clause(
            "worker.answer.before=delay:50@2+#again", "worker.answer.before", Action.DELAY, "50", 2, always=True
        ),
    }
    assert parse("") == {}


@pytest.mark.parametrize(
    "text",
    [
        "nothing", "no.such.point=kill", f"{POINT}=explode", f"{POINT}=kill@x", f"{POINT}=error",
        "director.submit.row.before=executed-then-error", "director.submit.row.before=error:ENOSUCH",
        f"{POINT}=delay", f"{POINT}=delay:soon",
    ],
)  # fmt: skip
def test_a_switch_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(FailpointError) as caught:
        parse(text)
    assert text in str(caught.value)


def refuse(armed: Armed, point: str, hits: int) -> list[int]:
    """Gives the numbers of the hits that raised."""
    raised = []
    for number in range(1, hits + 1):
        try:
            armed.hit(point, None)
        except FailpointError:
            raised.append(number)
    return raised


BEFORE = "director.submit.row.before"


@pytest.mark.parametrize(
    ("clause", "hits"), [("error", [1]), ("error@3", [3]), ("error@2+", [2, 3, 4]), ("error@9", [])]
)
def test_the_hit_that_is_named_acts(clause: str, hits: list[int], tmp_path: Path) -> None:
    armed = Armed(f"{BEFORE}={clause}", tmp_path / "landed")
    assert refuse(armed, BEFORE, 4) == hits
    assert refuse(armed, "director.end.before", 4) == []


def test_what_acts_is_in_the_record_first_and_acts_once_in_all_processes(tmp_path: Path) -> None:
    record = tmp_path / "landed"
    switch = f"{BEFORE}=error@2"
    assert refuse(Armed(switch, record), BEFORE, 3) == [2]
    assert refuse(Armed(switch, record), BEFORE, 3) == []
    assert refuse(Armed(switch + "#again", record), BEFORE, 3) == [2]
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(line["clause"], line["hit"]) for line in lines] == [(switch, 2), (switch + "#again", 2)]


def test_without_a_record_a_clause_acts_once_in_every_process() -> None:
    assert refuse(Armed(f"{BEFORE}=error", None), BEFORE, 3) == [1]


def test_a_file_is_read_again_at_every_hit_and_counted_anew(tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    armed = Armed(f"@{switch}", tmp_path / "landed")
    assert refuse(armed, BEFORE, 2) == []
    switch.write_text(f"{BEFORE}=error@2")
    assert refuse(armed, BEFORE, 3) == [2]
    switch.write_text(f"{BEFORE}=error@2#b")
    assert refuse(armed, BEFORE, 3) == [2]
    switch.unlink()
    assert refuse(armed, BEFORE, 3) == []


def test_a_step_that_was_done_can_raise_all_the_same(tmp_path: Path) -> None:
    armed = Armed("director.submit.row.after=executed-then-error:ECONNRESET", tmp_path / "landed")
    with pytest.raises(FailpointError, match=r"failpoint director\.submit\.row\.after") as caught:
        armed.hit("director.submit.row.after", None)
    assert caught.value.errno == errno.ECONNRESET


def test_a_short_write_waits_for_a_file(tmp_path: Path) -> None:
    record = tmp_path / "landed"
    Armed(f"{POINT}=short-write", record).hit(POINT, None)  # would have killed this very process
    assert not record.exists()


def test_without_the_switch_nothing_is_armed() -> None:
    assert failpoints._armed is None
    failpoint("director.opened")


Run = Callable[[str, str], "tuple[int, list[dict[str, object]]]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs lines in a process with a switch; gives its exit code and the landing record."""

    def start(switch: str, lines: str) -> tuple[int, list[dict[str, object]]]:
        record = tmp_path / "landed"
        script = f"from pathlib import Path\nfrom openfl_like.failpoints import failpoint\n{lines}"
        environment = {failpoints.SWITCH: switch, failpoints.LANDED: str(record)}
        done = subprocess.run([sys.executable, "-c", script], env=environment, timeout=60, check=False)
        text = record.read_text() if record.exists() else ""
        return done.returncode, [json.loads(line) for line in text.splitlines()]

    return start


@pytest.mark.children
def test_the_switch_kills_a_process_that_has_it_in_its_environment(run: Run) -> None:
    code, landed = run(f"{POINT}=kill@2", f"for _ in range(3): failpoint({POINT!r})")
    assert (code, landed[0]["point"], landed[0]["hit"]) == (-9, POINT, 2)
    assert run(f"{POINT}=kill@2", f"for _ in range(3): failpoint({POINT!r})")[0] == 0  # it has landed already


@pytest.mark.children
def test_a_short_write_leaves_half_of_the_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"abcdefgh")
    code, _ = run("tensors.rename.before=short-write", f"failpoint('tensors.rename.before', Path({str(path)!r}))")
    assert (code, path.read_bytes()) == (-9, b"abcd")


@pytest.mark.children
def test_a_delay_takes_its_time(run: Run) -> None:
    timed = f"import time; begin = time.monotonic(); failpoint({POINT!r}); assert time.monotonic() - begin > 0.2"
    assert run(f"{POINT}=delay:250", timed)[0] == 0


@pytest.mark.children
def test_a_process_with_a_senseless_switch_does_not_start(run: Run) -> None:
    assert run("nonsense", "pass") == (1, [])
