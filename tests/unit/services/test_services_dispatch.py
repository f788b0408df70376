"""What the Director does with the reports of several sites at once."""

from pathlib import Path
from typing import cast

from openfl_like.federation.events import Status
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.services.dispatch import Desk, Dispatch
from openfl_like.services.settings import DirectorFile
from openfl_like.store.director import StoredExperiment
from openfl_like.store.files import ExperimentFiles
from openfl_like.wire.aggregator import AggregatorClient


class OnlySettings:
    """A desk with nothing on it but director.yaml."""

    def __init__(self, state: Path) -> None:
        self.settings = DirectorFile(sample_shape=(1,), target_shape=(), state=state)


class Told:
    """An Aggregator that hears of a second loss while it is told of the first."""

    def __init__(self, lost: dict[str, str]) -> None:
        self.lost = lost
        self.heard: list[str] = []

    async def report_loss(self, site: str, reason: str) -> None:
        self.heard.append(f"{site}: {reason}")
        self.lost["site-2"] = "killed"


async def test_a_site_that_is_lost_while_another_one_is_told_of_disturbs_nobody(tmp_path: Path) -> None:
    summary = ExperimentSummary("e-1", "e", Status.RUNNING, "", "user", 1.0)
    desk = cast("Desk", OnlySettings(tmp_path))
    dispatch = Dispatch(desk, StoredExperiment(summary, "", b"", b""), ExperimentFiles(tmp_path / "e-1"))
    dispatch._lost["site-1"] = "ended"
    told = Told(dispatch._lost)
    await dispatch._report_losses(cast("AggregatorClient", told))
    assert told.heard == ["site-1: ended"]
    await dispatch._report_losses(cast("AggregatorClient", told))
    assert told.heard[1:] == ["site-1: ended", "site-2: killed"]
