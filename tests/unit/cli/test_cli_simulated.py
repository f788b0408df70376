"""A simulation's model is put where it was asked for, or stays where it is; submitted code cannot take our streams."""

import asyncio
import io
import json
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from openfl_like.cli.main import _leave_threads
from openfl_like.cli.options import check_output
from openfl_like.cli.output.console import emit_line, put
from openfl_like.cli.output.lent import OWN
from openfl_like.cli.simulate import simulate
from openfl_like.cli.simulated import Follower, KeptRecord, place_file
from openfl_like.errors import StorageError, UsageError
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.parties import Outcome, PublishedVersion
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.frameworks.batched.obstacles import NotBatched, Obstacle
from openfl_like.services.simulation import Simulation, SimulationResult
from openfl_like.store.files import ExperimentFiles

DONE = "1 of 1 rounds are done"
VERSIONS = (PublishedVersion(ModelVersion(1, "aa"), "", 0.0),)


def record_in(kept: KeptRecord) -> Path:
    files = ExperimentFiles(kept.folder / "record")
    files.prepare()
    files.model(1).write_bytes(b"model")
    return files.directory


def test_a_degraded_simulation_writes_its_model_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome(Status.FINISHED, DONE, {"bern": Failure(FailureKind.MISSING, round=1)})
    with KeptRecord() as kept:
        kept.place(SimulationResult(outcome, VERSIONS), record_in(kept), tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == b"model"
    assert "the model of the sites that took part is in" in capsys.readouterr().err
    assert not kept.folder.exists()


def test_a_failed_simulation_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"former")
    with KeptRecord() as kept:
        result = SimulationResult(Outcome(Status.FAILED, "no", {}), VERSIONS)
        kept.place(result, record_in(kept), tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == b"former"


def test_a_model_that_cannot_be_put_in_its_place_is_kept_and_named(tmp_path: Path) -> None:
    output = tmp_path / "gone" / "m.safetensors"
    with pytest.raises(UsageError) as caught, KeptRecord() as kept:
        kept.place(SimulationResult(Outcome(Status.FINISHED, DONE, {}), VERSIONS), record_in(kept), output)
    model = ExperimentFiles(kept.folder / "record").model(1)
    assert model.read_bytes() == b"model"
    assert str(model) in caught.value.cure
    assert str(output) in caught.value.place


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
def test_a_model_without_room_is_kept_and_leaves_no_half(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").symlink_to("/dev/full")
    result = SimulationResult(Outcome(Status.FINISHED, DONE, {}), VERSIONS)
    with pytest.raises(StorageError) as caught, KeptRecord() as kept:
        kept.place(result, record_in(kept), tmp_path / "m.safetensors")
    assert "it is trained and kept: copy" in caught.value.cure
    assert (kept.folder / "record").is_dir()


def test_a_file_is_placed_whole(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "old").write_bytes(b"old")
    place_file(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_the_destination_is_tried_before_the_work_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    check_output(tmp_path / "old")
    check_output(tmp_path / "new")
    check_output(Path("/dev/null"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"old": b"old"}
    for wrong, said in (("gone/m", "there is no folder"), (".", "it is a folder")):
        with pytest.raises(UsageError, match=said):
            check_output(tmp_path / wrong)
    if Path("/proc/self").is_dir():  # nobody, not even root, can write there
        with pytest.raises(UsageError, match="the file cannot be written"):
            check_output(Path("/proc/m.safetensors"))


@pytest.mark.parametrize("how", ["close", "replace", "forget"])
def test_code_that_has_our_streams_cannot_take_them_away(capsys: pytest.CaptureFixture[str], how: str) -> None:
    def code() -> None:
        if how == "close":
            sys.stdout.close()
            sys.stderr.close()
        else:
            sys.stdout = io.StringIO() if how == "replace" else None

    ours = sys.stdout
    with OWN.lent():
        print("of the code")  # noqa: T201 (what is tried)
        code()
        put("round 1")
        emit_line({"round": 2})
    assert sys.stdout is ours
    assert capsys.readouterr().out == 'of the code\nround 1\n{"round": 2}\n'


def test_threads_that_end_are_waited_for() -> None:
    done = threading.Event()
    threading.Thread(target=done.set).start()
    _leave_threads(3)
    assert done.is_set()


REASON = NotBatched(Obstacle.MODEL, "'2' is Dropout, which draws at random (p=0.5)", Phase.TRAIN)


def test_why_sites_work_alone_is_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    Follower(as_json=False, wanted=False).not_batched(REASON)
    told = capsys.readouterr()
    assert told.out == f"==> the phase 'train' is not batched, each site works alone: {REASON.detail}\n"
    assert told.err == ""


def test_and_a_line_of_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    follower = Follower(as_json=True, wanted=False)
    follower.not_batched(REASON)
    follower.not_batched(NotBatched(Obstacle.COMPRESSION, "updates are compressed"))
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"kind": "not_batched", "obstacle": "model", "phase": "train", "detail": REASON.detail}
    assert (second["obstacle"], second["phase"]) == ("compression", None)


def test_sites_that_work_in_this_process_are_not_confined() -> None:
    for runtime in ("local", "batched"):
        done = CliRunner().invoke(simulate, ["plan.yaml", "--sandbox", "--runtime", runtime])
        assert isinstance(done.exception, UsageError)
        assert f"in the runtime '{runtime}'" in done.exception.message


class _EndlessRun:
    """A simulation that takes a moment to end when it is broken off."""

    def __init__(self) -> None:
        self.bus = self
        self.began, self.over = asyncio.Event(), False

    def close(self) -> None:
        assert self.over

    async def tail(self, *, progress: bool) -> AsyncIterator[None]:
        del progress
        await asyncio.get_running_loop().create_future()
        yield None

    async def run(self) -> None:
        try:
            self.began.set()
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            self.over = True


async def test_a_simulation_that_is_broken_off_has_ended_before_its_event_loop_does() -> None:
    run = _EndlessRun()
    following = asyncio.ensure_future(
        Follower(as_json=True, wanted=False)._follow(cast("Simulation", run), one_line=False)
    )
    await run.began.wait()
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert run.over
