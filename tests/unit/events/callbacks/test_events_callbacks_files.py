"""What the built-in callbacks write, and that they write the same however the history comes."""

import csv
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from openfl_like.events.callbacks.bandwidth import Bandwidth
from openfl_like.events.callbacks.base import Callback, ResultsFolder, ResultsFullError
from openfl_like.events.callbacks.checkpoint import ModelCopies
from openfl_like.events.callbacks.plot import Plot
from openfl_like.events.callbacks.save import Save
from openfl_like.events.callbacks.selection_counts import SelectionCounts
from openfl_like.events.callbacks.timer import Timer
from openfl_like.federation.announcements import Announced, Announcement, AssignmentSent, RoundFinished, UpdateReceived
from openfl_like.federation.task import Phase
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import write_tensors
from openfl_like.tensors.manifest import file_digest
from tests.unit.events.callbacks.callback_histories import history_of, numbered, round_of

ROWS = [
    ["round", "site", "task", "metric", "value", "samples"],
    ["1", "", "", "accuracy", "0.1", "0"],
    ["1", "a", "validate", "accuracy", "0.1", "4"],
    ["1", "a", "train", "loss", "1.0", "10"],
    ["2", "", "", "accuracy", "0.2", "0"],
    ["2", "a", "validate", "accuracy", "0.2", "4"],
    ["2", "a", "train", "loss", "0.5", "10"],
]


def folder_of(path: Path, most_bytes: int = 1 << 20) -> ResultsFolder:
    path.mkdir(parents=True, exist_ok=True)
    return ResultsFolder(path, ExperimentFiles(path.parent), most_bytes)


def have(callback: Callback, history: Sequence[Announced], path: Path, at_once: int = 1000) -> None:
    """Tell a callback a history, so many events at once, in one life of its process."""
    folder = folder_of(path)
    for start in range(0, len(history), at_once):
        callback.take(history[start : start + at_once])
        callback.write(folder)
    callback.finish(folder)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_metrics_are_saved_of_all_sites_and_of_each(tmp_path: Path) -> None:
    have(Save(formats=("csv", "jsonl", "sqlite")), history_of(2), tmp_path / "save")
    assert rows_of(tmp_path / "save/metrics.csv") == ROWS
    lines = [json.loads(line) for line in (tmp_path / "save/metrics.jsonl").read_text().splitlines()]
    assert [[str(value) for value in line.values()] for line in lines] == ROWS[1:]
    with closing(sqlite3.connect(tmp_path / "save/metrics.db")) as database:
        found = database.execute("SELECT * FROM metrics").fetchall()
    assert [[str(value) for value in row] for row in found] == ROWS[1:]


def test_metrics_are_saved_as_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    have(Save(formats=("parquet",)), history_of(2), tmp_path / "save", at_once=3)
    found = parquet.read_table(tmp_path / "save/metrics.parquet").to_pylist()
    assert [[str(value) for value in row.values()] for row in found] == ROWS[1:]
    assert [path.name for path in (tmp_path / "save").iterdir()] == ["metrics.parquet"]


def test_an_update_that_came_again_is_saved_once(tmp_path: Path) -> None:
    have(Save(), history_of(2, lost=True), tmp_path / "save")
    assert rows_of(tmp_path / "save/metrics.csv") == ROWS


@pytest.mark.parametrize("make", [Save, Timer, SelectionCounts, Bandwidth])
@pytest.mark.parametrize("at_once", [1, 4, 7])
def test_files_are_the_same_however_events_come_and_in_every_life(
    tmp_path: Path, make: Callable[[], Callback], at_once: int
) -> None:
    history = history_of(5)
    have(make(), history, tmp_path / "whole/results")
    have(make(), history[:9], tmp_path / "parts/results", at_once)  # the process is lost, and the next begins
    have(make(), history, tmp_path / "parts/results", at_once)
    names = sorted(path.name for path in (tmp_path / "whole/results").iterdir())
    assert sorted(path.name for path in (tmp_path / "parts/results").iterdir()) == names
    for name in names:
        assert (tmp_path / "parts/results" / name).read_bytes() == (tmp_path / "whole/results" / name).read_bytes()


def test_the_times_of_rounds_and_collaborators_are_written(tmp_path: Path) -> None:
    have(Timer(), numbered(*round_of(1)), tmp_path / "timer")
    assert rows_of(tmp_path / "timer/rounds.csv") == [
        ["round", "training_s", "scoring_s", "combining_s", "evaluating_s", "publishing_s", "total_s"],
        ["1", "2.0", "0.0", "1.0", "1.0", "1.0", "5.0"],
    ]
    assert rows_of(tmp_path / "timer/collaborators.csv") == [
        ["round", "phase", "collaborator", "waited_s", "worked_s"],
        ["1", "train", "a", "1.0", "0.25"],
        ["1", "evaluate", "a", "", "0.0"],
    ]


SENT: list[tuple[float, Announcement]] = [
    (0.0, AssignmentSent(1, Phase.TRAIN, "a")),
    (0.0, AssignmentSent(1, Phase.TRAIN, "b")),
]
CAME: list[tuple[float, Announcement]] = [
    (5.0, UpdateReceived(1, Phase.TRAIN, "a", 4, {}, 3.0, 1000)),
    (6.0, UpdateReceived(1, Phase.TRAIN, "b", 4, {}, 2.0, 2000)),
    (7.0, UpdateReceived(1, Phase.EVALUATE, "b", 4, {}, 2.0)),
    (8.0, RoundFinished(1, "d")),
    (9.0, UpdateReceived(2, Phase.TRAIN, "a", 4, {}, 3.0, 500)),
]
TRAFFIC = [Announced(number, time, told) for number, (time, told) in enumerate([*SENT, *CAME], 1)]


@pytest.mark.parametrize("at_once", [1, 3, 10])
def test_the_bytes_of_updates_and_how_fast_they_came_are_written(tmp_path: Path, at_once: int) -> None:
    have(Bandwidth(), TRAFFIC, tmp_path / "bandwidth", at_once)
    assert rows_of(tmp_path / "bandwidth/bandwidth.csv") == [
        ["round", "collaborator", "update_bytes", "transfer_s", "bytes_per_s"],
        ["1", "a", "1000", "2.0", "500.0"],
        ["1", "b", "2000", "4.0", "500.0"],
        ["2", "a", "500", "", ""],
    ]
    assert not (tmp_path / "bandwidth/bandwidth.png").exists()


def test_bandwidth_is_drawn_if_a_format_is_named(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    have(Bandwidth(formats=("png", "svg")), TRAFFIC, tmp_path / "bandwidth")
    assert (tmp_path / "bandwidth/bandwidth.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "bandwidth/bandwidth.svg").read_text()
    assert "<svg" in drawn


def test_it_is_counted_who_took_part(tmp_path: Path) -> None:
    have(SelectionCounts(), history_of(3), tmp_path / "counts")
    assert rows_of(tmp_path / "counts/counts.csv") == [
        ["site", "selected", "contributed", "evaluated", "absent"],
        ["a", "3", "3", "3", "0"],
        ["b", "3", "0", "0", "3"],
    ]


def test_models_are_copied_if_they_are_those_of_the_round(tmp_path: Path) -> None:
    files = ExperimentFiles(tmp_path)
    files.prepare()
    for number in (2, 4):
        write_tensors(files.model(number), {"w": np.full(3, number, np.float32)})
    digest = file_digest(files.model(2))
    history = numbered(*round_of(1), *round_of(2, digest), *round_of(3), *round_of(4, "of another model"))
    have(ModelCopies(every=2), history, tmp_path / "checkpoint")
    have(ModelCopies(every=2), history, tmp_path / "checkpoint")
    assert rows_of(tmp_path / "checkpoint/checkpoints.csv") == [
        ["round", "digest", "file"],
        ["2", digest, "model-0002.safetensors"],
        ["4", "of another model", ""],
    ]
    found = sorted(path.name for path in (tmp_path / "checkpoint").iterdir())
    assert found == ["checkpoints.csv", "model-0002.safetensors"]
    assert file_digest(tmp_path / "checkpoint/model-0002.safetensors") == digest


def test_pictures_are_drawn_when_they_are_due_and_at_the_end(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder, plot = folder_of(tmp_path / "plot"), Plot(every=2, metrics=("accuracy",))
    plot.take(numbered(*round_of(1)))
    plot.write(folder)
    assert list(folder.directory.iterdir()) == []
    plot.take(numbered(*round_of(2)))
    plot.write(folder)
    assert sorted(path.name for path in folder.directory.iterdir()) == ["metrics.png", "metrics.svg"]
    plot.finish(folder)
    found = {path.name: path.read_bytes() for path in folder.directory.iterdir()}
    assert {*found} == {"metrics.png", "metrics.svg", "final.png", "final.svg"}
    assert found["final.png"].startswith(b"\x89PNG")
    assert b"accuracy (validate)" in found["final.svg"]
    assert b"loss" not in found["metrics.svg"]


def test_a_folder_that_is_full_is_noticed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "results", most_bytes=1 << 20)
    folder.append("a", b"1" * 400_000)
    folder.replace("b", b"1" * 400_000)
    folder.check()
    folder.append("a", b"6" * 400_000)
    with pytest.raises(ResultsFullError, match="the limit is 1,048,576"):
        folder.check()
    assert (folder.directory / "a").stat().st_size == 800_000
