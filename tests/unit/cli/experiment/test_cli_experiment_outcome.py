"""What people read of where an experiment stands."""

from dataclasses import replace

import pytest
from answers import summary

from openfl_like.cli.experiment.outcome import reason_of
from openfl_like.cli.experiment.progress import Screen
from openfl_like.federation.parties import Waiting, WaitKind

SENTENCES = {
    "waits for a place: 3 of 3 taken": Waiting(WaitKind.PLACE, running=3, places=3),
    "waits for site bern, which runs digits-7": Waiting(WaitKind.SITE, "bern", "digits-7"),
    "waits for site bern, which runs another experiment": Waiting(WaitKind.SITE, "bern"),
    "waits for envoys: bern, zurich": Waiting(WaitKind.ENVOYS, envoys=("bern", "zurich"), more=2),
    "waits for envoys: 2 more": Waiting(WaitKind.ENVOYS, more=2),
    "waits for site bern, which is kept for another experiment: that has waited too long": Waiting(
        WaitKind.KEPT, "bern"
    ),
}


@pytest.mark.parametrize("text", SENTENCES)
def test_a_queued_experiment_says_what_it_waits_for(text: str) -> None:
    queued, lines = replace(summary(), waiting=SENTENCES[text]), list[str]()
    assert reason_of(queued) == text
    assert reason_of(replace(queued, resumed_by="bob")) == f"resumed by bob; {text}"
    Screen(as_json=False, show=lines.append).follow([summary(), queued, summary()])
    assert lines == [f"{text}, since 2023-11-14 22:13:20Z"]
