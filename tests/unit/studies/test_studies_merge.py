"""Folders of a study become one, or it is said what is in the way, and where."""

from dataclasses import replace
from pathlib import Path

import pytest

from openfl_like.errors import ConflictError, DamagedError, NotFoundError, UsageError
from openfl_like.services.daemon.lock import only_one
from openfl_like.studies.folder import StudyFolder
from openfl_like.studies.merge import merge
from openfl_like.studies.results import RunState, StudyRunResult, result_json
from openfl_like.studies.study import StudyDesign, study_from, study_json
from tests.unit.studies.made_studies import made_study, results_of

STUDY = made_study(repetitions=1)
ALL = results_of(STUDY, {1: [0.1], 2: [0.2], 3: [0.3], 4: [0.4]})


def folder_of(folder: Path, names: list[str], study: StudyDesign = STUDY, **changed: StudyRunResult) -> Path:
    kept = StudyFolder(folder)
    kept.directory.mkdir()
    kept.take(study)
    for name in names:
        kept.write_result(changed.get(name.replace("-", "_"), ALL[name]))
    return folder


def test_disjoint_runs_become_the_whole_in_the_order_of_the_runs(tmp_path: Path) -> None:
    first = folder_of(tmp_path / "a", ["c4-r1", "c2-r1"])
    second = folder_of(tmp_path / "b", ["c1-r1", "c2-r1"])
    found = merge([first, second], tmp_path / "c")
    assert list(found.results) == ["c1-r1", "c2-r1", "c4-r1"]
    assert found.taken == {first: 2, second: 1}
    whole = StudyFolder(tmp_path / "c")
    assert whole.read() == STUDY
    assert whole.results(STUDY) == found.results
    lines = (tmp_path / "c" / "rows.jsonl").read_text().splitlines()
    assert [line.split('"')[3] for line in lines] == [name for name in found.results for _ in range(4)]


@pytest.mark.parametrize("change", [{"sha256": "other"}, {"rows": ()}])
def test_runs_that_do_not_agree_are_refused_with_their_places(tmp_path: Path, change: dict[str, object]) -> None:
    other = replace(ALL["c2-r1"], **change)  # type: ignore[arg-type]  # a test names the fields
    folders = [folder_of(tmp_path / "a", ["c2-r1"]), folder_of(tmp_path / "b", ["c2-r1"], c2_r1=other)]
    with pytest.raises(ConflictError) as caught:
        merge(folders, tmp_path / "c")
    assert str(tmp_path / "a" / "runs" / "c2-r1") in caught.value.message
    assert str(tmp_path / "b" / "runs" / "c2-r1") in caught.value.message
    assert not (tmp_path / "c").exists()


def test_a_finished_run_is_taken_before_one_that_failed_elsewhere(tmp_path: Path) -> None:
    failed = replace(ALL["c1-r1"], state=RunState.FAILED, code="E307", cause="no room")
    folders = [folder_of(tmp_path / "a", ["c1-r1"], c1_r1=failed), folder_of(tmp_path / "b", ["c1-r1"])]
    assert merge(folders, tmp_path / "c").results["c1-r1"].state is RunState.FINISHED


def test_a_folder_in_which_somebody_is_at_work_is_refused(tmp_path: Path) -> None:
    folders = [folder_of(tmp_path / "a", ["c2-r1"]), folder_of(tmp_path / "b", ["c1-r1"])]
    with only_one(folders[1], "study"), pytest.raises(ConflictError, match="is at work in this folder") as caught:
        merge(folders, tmp_path / "c")
    assert caught.value.place == str(folders[1])
    assert not (tmp_path / "c").exists()


def test_another_study_is_refused(tmp_path: Path) -> None:
    folders = [folder_of(tmp_path / "a", []), folder_of(tmp_path / "b", [], replace(STUDY, workspace="other code"))]
    with pytest.raises(ConflictError, match="is another study than 'skew'") as caught:
        merge(folders, tmp_path / "c")
    assert caught.value.place == str(tmp_path / "b")


def test_a_merge_wants_two_folders_and_an_empty_place(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "a", []), folder_of(tmp_path / "b", [])
    for names in ([first], [first, first]):
        with pytest.raises(UsageError, match="two different folders"):
            merge(names, tmp_path / "c")
    with pytest.raises(ConflictError, match="there is something already"):
        merge([first, second], second)
    with pytest.raises(NotFoundError, match="there is no study"):
        merge([first, tmp_path / "nowhere"], tmp_path / "c")


def test_a_folder_keeps_its_study(tmp_path: Path) -> None:
    folder = StudyFolder(folder_of(tmp_path / "a", []))
    folder.take(replace(STUDY, compare="alpha"))  # only shown otherwise
    assert folder.read().compare == "alpha"
    with pytest.raises(ConflictError, match="the code of its workspace has changed"):
        folder.take(replace(STUDY, workspace="other"))
    changed = [replace(run, plan_digest="x" * run.configuration) for run in STUDY.runs[:2]]
    with pytest.raises(ConflictError, match="2 of 4 plans have changed"):
        folder.take(replace(STUDY, runs=(*changed, *STUDY.runs[2:])))
    (tmp_path / "a" / "study.json").write_text("{}")
    with pytest.raises(DamagedError, match="this is not a study"):
        folder.read()
    (folder.run("c1-r1")).mkdir(parents=True)
    for text, told in (
        ('{"run": 1}', "this is not the result of a run"),
        (result_json(ALL["c1-r1"]).decode().replace("c1-r1", "../../elsewhere", 1), "this is not the result of a run"),
        (result_json(ALL["c2-r1"]).decode(), "this is the result of c2-r1"),
    ):
        (folder.run("c1-r1") / "result.json").write_text(text)
        with pytest.raises(DamagedError, match=told):
            folder.result(STUDY.runs[0])


def test_a_run_cannot_be_called_after_another_folder() -> None:
    text = study_json(STUDY).decode().replace('"c1-r1"', '"../../elsewhere"')
    with pytest.raises(DamagedError, match="this is not a study"):
        study_from(text.encode(), "here")


def test_failed_runs_are_tried_again_and_nothing_stays_decided_that_went_by_them(tmp_path: Path) -> None:
    failed = replace(ALL["c1-r1"], state=RunState.FAILED, code="E307", cause="no room")
    folder = StudyFolder(
        folder_of(tmp_path / "a", ["c1-r1", "c2-r1", "c3-r1"], c1_r1=failed, c2_r1=ALL["c2-r1"].until(2))
    )
    folder.retry(STUDY)
    states = {name: result.state for name, result in folder.results(STUDY).items()}
    assert states == {"c2-r1": RunState.PAUSED, "c3-r1": RunState.FINISHED}
