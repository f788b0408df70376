"""An update is refused by its size before a byte of it is taken."""

from pathlib import Path

import numpy as np
import pytest

from openfl_like.errors import UpdateRefusedError
from openfl_like.events.bus import EventBus
from openfl_like.federation.deliveries import Deliveries
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.plan.load import load_plan
from openfl_like.runtimes.mailbox import MailboxRuntime
from openfl_like.runtimes.models import ModelRepository
from openfl_like.services.aggregator.service import (
    HEADER_SLACK_BYTES,
    INITIAL_MODEL_LIMIT_BYTES,
    Aggregator,
)
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import write_tensors
from openfl_like.tensors.manifest import DIGEST_BYTES, Manifest, chunk_size

PLAN = load_plan(Path(__file__).parents[3] / "assets" / "obedient" / "plan.yaml", ())


def promised(total_bytes: int) -> Manifest:
    size = chunk_size(total_bytes)
    return Manifest(total_bytes, size, (b"\1" * DIGEST_BYTES,) * -(-total_bytes // size))


class Opened:
    """An Aggregator that gave out a model, after a restart: it has served nobody yet."""

    def __init__(self, directory: Path) -> None:
        files = ExperimentFiles(directory)
        files.prepare()
        self.model = write_tensors(files.model(0), {"w": np.ones(1000, np.float32)}, sync=False)
        self.deliveries = Deliveries()
        self.spool = files.update(1, Phase.TRAIN, "bern")
        runtime = MailboxRuntime("", self.deliveries)
        # nothing of an update's way to its place asks the loop
        self.aggregator = Aggregator(None, runtime, ModelRepository(PLAN, files), EventBus(lambda _: []))  # type: ignore[arg-type] # see above

    def asks(self, phase: Phase, model: str) -> None:
        self.deliveries.ask(Assignment(1, phase, "bern", (), model, 7))


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    return Opened(tmp_path)


def update(manifest: Manifest, phase: Phase = Phase.TRAIN) -> Update:
    return Update(1, phase, "bern", manifest.digest, 3, {})


async def test_an_update_larger_than_the_model_that_it_started_from_is_refused(opened: Opened) -> None:
    opened.asks(Phase.TRAIN, opened.model.digest)
    large = promised(opened.model.total_bytes + HEADER_SLACK_BYTES + 1)
    told = f"the update has {large.total_bytes:,} bytes, the model that it started from {opened.model.total_bytes:,}"
    with pytest.raises(UpdateRefusedError, match=told):
        await opened.aggregator.expect_update(update(large), large)
    assert not opened.spool.parent.exists() or not list(opened.spool.parent.iterdir())


async def test_an_update_as_large_as_the_model_has_a_place(opened: Opened) -> None:
    opened.asks(Phase.TRAIN, opened.model.digest)
    fitting = promised(opened.model.total_bytes)
    assert (await opened.aggregator.expect_update(update(fitting), fitting)).path == opened.spool


async def test_an_initial_model_has_a_limit_of_its_own(opened: Opened) -> None:
    opened.asks(Phase.INITIALISE, "")
    large = promised(INITIAL_MODEL_LIMIT_BYTES + 1)
    with pytest.raises(UpdateRefusedError, match=r"the initial model has 68,719,476,737 bytes"):
        await opened.aggregator.expect_update(update(large, Phase.INITIALISE), large)
