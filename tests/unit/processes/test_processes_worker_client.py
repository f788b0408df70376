"""The collaborator's side of a worker: whatever stands on the worker's answers, the collaborator goes on."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from openfl_like.federation.failure import FailureKind
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.processes.child import Child
from openfl_like.processes.worker_client import WorkerEndedError, WorkerProcess

TRAIN = Assignment(1, Phase.TRAIN, "bern", (), "", 0)


class FakeChild:
    """A worker that answers one line, whatever it is asked."""

    def __init__(self, line: str) -> None:
        self._line = line
        self.exited, self.stopped = asyncio.Event(), False
        self.process = SimpleNamespace(stdin=self, returncode=None)

    def write(self, _order: bytes) -> None:
        return None

    async def drain(self) -> None:
        return None

    async def line(self) -> str:
        return self._line

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
