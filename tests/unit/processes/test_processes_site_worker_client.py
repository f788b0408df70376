"""A worker whose answers are not those to what it was asked is ended."""

import sys
from collections.abc import AsyncIterator

import pytest

from openfl_like.processes.batch import Answer, Batch, Setting, SiteOrder
from openfl_like.processes.child import spawn
from openfl_like.processes.site_worker_client import SiteWorkerProcess
from openfl_like.processes.worker_channel import WorkerEndedError

pytestmark = pytest.mark.children
BATCH = Batch(Setting("", "", "", "cpu"), (SiteOrder("bern"),))
ANSWERING_TWICE = """
import json, sys
for line in sys.stdin:
    number = json.loads(line)["number"]
    for _ in range(2):
        print(json.dumps({"number": number, "answers": [{"ready": {}}], "sizes": [None]}), flush=True)
"""


@pytest.fixture
async def worker() -> AsyncIterator[SiteWorkerProcess]:
    made = SiteWorkerProcess(await spawn([sys.executable, "-c", ANSWERING_TWICE]))
    yield made
    await made.stop()


async def test_an_answer_to_what_was_asked_before_is_none(worker: SiteWorkerProcess) -> None:
    assert await worker.answers(BATCH) == [Answer({"ready": {}})]
    with pytest.raises(WorkerEndedError, match="it does not answer what it was asked last"):
        await worker.answers(BATCH)
