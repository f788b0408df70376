"""The collaborator's side of a worker: whatever stands on the worker's answers, the collaborator goes on."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from openfl_like.federation.failure import FailureKind
from openfl_like.federation.reports.progress import TaskProgress
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.processes.child import Child
from openfl_like.processes.worker import fields_of
from openfl_like.processes.worker_channel import WorkerChannel, WorkerEndedError
from openfl_like.processes.worker_client import WorkerProcess, WorkerSettings

TRAIN = Assignment(1, Phase.TRAIN, "bern", (), "", 0)


class FakeChild:
    """A worker that tells something, and answers one line, whatever it is asked."""

    def __init__(self, line: str, *, told: Sequence[str] = (), too_long: bool = False) -> None:
        self._line, self._told, self._too_long = line, list(told), too_long
        self.exited, self.stopped = asyncio.Event(), False
        self.process = SimpleNamespace(stdin=self, returncode=None)

    def write(self, _order: bytes) -> None:
        return None

    async def drain(self) -> None:
        return None

    async def line(self) -> str:
        if self._too_long:
            raise ValueError("Separator is not found, and chunk exceed the limit")  # as asyncio's streams do
        return self._told.pop(0) if self._told else self._line

    async def stop(self, grace_s: float) -> int:
        assert grace_s == 0
        self.stopped = True
        self.exited.set()
        return -9


async def test_an_update_is_read(tmp_path: Path) -> None:
    line = '{"update": {"round": 1, "phase": "train", "collaborator": "bern", "digest": "aa", "num_samples": 4}}'
    child = FakeChild(line)
    update = await WorkerProcess(cast("Child", child)).perform(TRAIN, None, tmp_path / "out")
    assert (update, child.stopped) == (Update(1, Phase.TRAIN, "bern", "aa", 4), False)


async def test_a_progress_that_cannot_be_is_left_out_and_ends_nobody(tmp_path: Path) -> None:
    sound = {**fields_of(TaskProgress(1, Phase.TRAIN, "train", batches=3)), "phase": "train"}
    bad: list[dict[str, object]] = [
        {"batches": -1},
        {"samples": 1.5},
        {"round": 2},
        {"phase": "lunch"},
        {"metrics": {"a": "b"}},
    ]
    lines = [json.dumps({"progress": {**sound, **change}}) for change in [*bad, {}]]
    update = '{"update": {"round": 1, "phase": "train", "collaborator": "bern", "digest": "aa", "num_samples": 4}}'
    child, told = FakeChild(update, told=['{"progress": 5}', *lines]), list[TaskProgress]()
    found = await WorkerProcess(cast("Child", child)).perform(TRAIN, None, tmp_path / "out", told.append)
    assert (found.num_samples, child.stopped) == (4, False)
    assert [each.batches for each in told] == [3]


@pytest.mark.parametrize(
    "line",
    [
        "the scanner says hello",
        "[]",
        "7",
        "{}",
        '{"update": 3}',
        '{"update": {"phase": "lunch"}}',
        '{"update": {"phase": "train", "round": 1, "more": 2}}',
        '{"error": 1}',
        '{"error": {"code": "E503", "reason": "no", "failure": {"kind": "bad luck"}}}',
    ],
)
async def test_what_is_not_a_valid_answer_ends_the_worker_and_not_the_collaborator(tmp_path: Path, line: str) -> None:
    child = FakeChild(line)
    with pytest.raises(WorkerEndedError) as caught:
        await WorkerProcess(cast("Child", child)).perform(TRAIN, None, tmp_path / "out")
    assert caught.value.failure.kind is FailureKind.WORKER
    assert child.stopped


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ('"num_samples": -1', "-1 is not a possible number of samples"),
        ('"num_samples": 1.5', "num_samples is not a whole number"),
        ('"num_samples": true', "num_samples is not a whole number"),
        ('"num_samples": 99999999999999999999', "is not a possible number of samples"),
        ('"metrics": {"train": {"\\udcfc": 1.0}}', "is not text that UTF-8 can hold"),
        ('"metrics": {"train": {"loss": "low"}}', "a metric is not a number"),
        (f'"metrics": {{"train": {{"loss": 1{"0" * 400}}}}}', "a metric is too large"),
        ('"metrics": {"train": [1]}', "metrics is not a mapping"),
        ('"round": 2', "it answers round 2, train, which is not what it was asked"),
        ('"collaborator": "chur"', "which is not what it was asked"),
        ('"digest": 7', "digest is not text"),
        ('"digest": ""', "it names no model file"),
        ('"duration_s": -1', "its duration is not a time"),
        ('"duration_s": "long"', "duration_s is not a number"),
        (f'"metrics": {"[" * 100_000}{"]" * 100_000}', "nested too deep"),
    ],
)
async def test_an_answer_is_looked_at_field_by_field(tmp_path: Path, change: str, mistake: str) -> None:
    update = '"round": 1, "phase": "train", "collaborator": "bern", "digest": "aa", "num_samples": 4, "metrics": {}'
    child = FakeChild(f'{{"update": {{{update}, {change}}}}}')
    with pytest.raises(WorkerEndedError, match=mistake) as caught:
        await WorkerProcess(cast("Child", child)).perform(TRAIN, None, tmp_path / "out")
    assert str(caught.value.failure).startswith("its worker answered what is not a valid answer: ")
    assert child.stopped


async def test_an_answer_longer_than_any_ends_the_worker(tmp_path: Path) -> None:
    child = FakeChild("", too_long=True)
    with pytest.raises(WorkerEndedError, match="a line of more than 1048576 bytes"):
        await WorkerProcess(cast("Child", child)).perform(TRAIN, None, tmp_path / "out")
    assert child.stopped


class DeadChild(FakeChild):
    """A worker that ended before it answered, with a last line on its stderr."""

    frozen = False

    def __init__(self) -> None:
        super().__init__("")

    async def wait(self) -> int:
        return 1

    def last_line(self) -> str:
        return "patient 17 has it"


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("", "; last line: patient 17 has it"),
        ("logs: {share: true}\n", "; last line: patient 17 has it"),
        ("logs: {share: false}\n", ""),
        ("logs: {share: fals}\n", ""),
    ],
)
async def test_the_last_line_of_a_worker_stays_at_a_site_that_keeps_its_logs(
    tmp_path: Path, policy: str, told: str
) -> None:
    shard = tmp_path / "shard.yaml"
    shard.write_text(f"template: digits\n{policy}")
    worker = WorkerProcess(cast("Child", DeadChild()), WorkerSettings(shard, tmp_path))
    with pytest.raises(WorkerEndedError) as caught:
        await worker.perform(TRAIN, None, tmp_path / "out")
    assert caught.value.failure.message == f"its worker was ended: exit code 1{told}"


class MuteChild(FakeChild):
    """A worker that has closed its pipe and does not end."""

    def __init__(self) -> None:
        super().__init__("")
        self.frozen = False

    async def wait(self) -> int:
        await self.exited.wait()
        return -9

    def last_line(self) -> str:
        return ""


async def test_a_worker_that_closes_its_pipe_and_lives_on_is_ended() -> None:
    child = MuteChild()
    with pytest.raises(WorkerEndedError, match="its worker was ended: killed by SIGKILL"):
        await WorkerChannel(cast("Child", child), patience_s=0.01).ask({})
    assert child.stopped
