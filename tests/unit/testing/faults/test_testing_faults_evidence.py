import os
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from openfl_like.errors import InternalError, UnreachableError
from openfl_like.federation.announcements import ExperimentEnded, RoundFinished
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.status import Status
from openfl_like.processes.child import spawn
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import Commit, StoredExperiment, TimedAnnouncement
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tensors.container import write_tensors
from openfl_like.tensors.manifest import file_digest, sha256_file
from openfl_like.testing.faults.call_history import History, RecordedCall, Told, read_history
from openfl_like.testing.faults.evidence import Happened, ModelFile, gather, held_ports, strays_below
from openfl_like.testing.faults.invariants import Expected, check


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """What a Director leaves behind that has run one experiment."""
    state = tmp_path / "state"
    (state / "incoming").mkdir(parents=True)
    files = ExperimentFiles(state / "experiments" / "exp-1")
    files.prepare()
    files.bundle.write_bytes(b"bundle")
    write_tensors(files.model(0), {"w": np.zeros(3, np.float32)})
    digest, sha256 = file_digest(files.model(0)), sha256_file(files.model(0))
    ended = [
        TimedAnnouncement(1.0, RoundFinished(0, digest, contributors=("bern",))),
        TimedAnnouncement(1.0, ExperimentEnded(Status.FINISHED)),
    ]
    with closing(SQLITE.experiment(files)) as record:
        record.commit(Commit(1.0, {}, ended, [ModelVersion(0, digest)], {0: sha256}, durable=True))
    with closing(SQLITE.director(DirectorFiles(state))) as store:
        summary = ExperimentSummary("exp-1", "exp", Status.FINISHED, "all rounds", "ada", 1.0, plan_digest="p")
        store.add("0011", StoredExperiment(summary, file_digest(files.bundle), b"s", b"c"))
    return state


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "history.jsonl"
    written = History(path, iter(float(number) for number in range(99)).__next__)
    written.begin("submit", "0011").failed(UnreachableError("no answer"))
    written.begin("submit", "0011").answered(Told("exp-1", "QUEUED"))
    assert (written.calls, written.answered) == (2, 1)
    return path


def test_what_was_left_behind_is_read_and_is_sound(state: Path, history: Path) -> None:
    evidence = gather(state, history)
    (item,) = evidence.experiments
    model = state / "experiments" / "exp-1" / "models" / "v0000.safetensors"
    assert evidence.requests == [("0011", "exp-1")]
    assert item.events[1] == Happened(2, ExperimentEnded(Status.FINISHED), epoch=1)
    assert item.models == {0: ModelFile(file_digest(model), sha256_file(model))}
    assert (evidence.damage, item.damage, evidence.strangers) == ("", "", [])
    assert check(evidence, Expected()) == []


def test_a_flipped_bit_of_a_model_is_a_breach(state: Path, history: Path) -> None:
    model = state / "experiments" / "exp-1" / "models" / "v0000.safetensors"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    assert {breach.letter for breach in check(gather(state, history), Expected())} == {"A3"}


def test_damaged_databases_are_a_breach(state: Path, history: Path) -> None:
    (state / "experiments" / "exp-1" / "experiment.db").write_bytes(b"no database")
    assert [item.damage for item in gather(state, history).experiments] == ["file is not a database"]
    (state / "director.db").unlink()
    evidence = gather(state, history)
    assert evidence.damage == "it is missing"
    assert "A1" in {breach.letter for breach in check(evidence, Expected())}


def test_what_belongs_to_nobody_is_found(state: Path, history: Path) -> None:
    (state / "experiments" / "orphan").mkdir()
    (state / "incoming" / "unpacked-1").mkdir()
    (state / "incoming" / "ada-0012.tar").touch()  # half an upload: its submitter may come back
    assert gather(state, history).strangers == ["experiments/orphan", "incoming/unpacked-1"]


@pytest.mark.children
async def test_a_process_that_works_below_the_directory_is_found(tmp_path: Path) -> None:
    child = await spawn([sys.executable, "-c", "input()"], cwd=tmp_path)
    try:
        (stray,) = strays_below(tmp_path)
        assert stray.pid == child.process.pid
        assert strays_below(tmp_path, {stray.pid}) == []
    finally:
        await child.stop(grace_s=0.0)
    assert strays_below(tmp_path) == []
    assert os.getpid() not in {process.pid for process in strays_below(Path("/"))}


def test_no_port_is_held_that_nobody_listens_on() -> None:
    assert held_ports({1}) == []


def test_a_history_is_read_up_to_a_line_that_was_cut(history: Path) -> None:
    with history.open("a") as file:
        file.write('{"name": "watch", "sta')
    assert read_history(history) == [
        RecordedCall("submit", 0.0, 1.0, "0011", error="E401 no answer"),
        RecordedCall("submit", 2.0, 3.0, "0011", Told("exp-1", "QUEUED")),
    ]


def test_a_line_in_the_middle_that_is_no_call_is_refused(history: Path) -> None:
    history.write_text("nonsense\n" + history.read_text())
    with pytest.raises(InternalError, match="not a call"):
        read_history(history)


def test_a_history_that_was_never_written_is_empty(tmp_path: Path) -> None:
    assert read_history(tmp_path / "none") == []
