"""`fx envoy history` reads a site's record as people, spreadsheets and programs want it."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openfl_like.cli.main import fx
from openfl_like.federation.history.site import PartEnd, PerformedTasks, SitePart
from openfl_like.federation.task import Phase
from openfl_like.store.site_files import SiteFiles
from openfl_like.store.sqlite.stores import SQLITE
from tests.docs.documents import DOCS

ADA = "fx://hospitals/user/ada"
DONE = [
    PerformedTasks(11.0, 0, Phase.EVALUATE, ("validate",)),
    PerformedTasks(12.0, 1, Phase.TRAIN, ("train",)),
    PerformedTasks(13.0, 2, Phase.TRAIN, ("train",), "ValueError: two"),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envoy-bern").mkdir()
    with closing(SQLITE.site(SiteFiles(tmp_path / "envoy-bern"))) as store:
        number = store.begin(SitePart("digits-1", ADA, "ab" * 32, 10.0))
        store.end(number, PartEnd.CANCELLED, "cancelled by ada, \x1b[2J", 20.0, DONE)
        store.begin(SitePart("digits-00000002", ADA, "ab" * 32, 30.0))
    return lambda *options: CliRunner().invoke(fx, ["envoy", "history", *options])


def test_people_see_for_whom_what_ran_in_which_rounds_and_how_it_ended(run: Callable[..., Result]) -> None:
    shown = run("-n", "bern")
    assert shown.exit_code == 0
    line = next(line for line in shown.stdout.splitlines() if line.startswith("digits-1 "))
    for part in (ADA, "1970-01-01 00:00:10", "0-2", "validate 1, train 1, failed 1", "CANCELLED", "cancelled by ada"):
        assert part in line
    assert "\x1b" not in shown.stdout
    assert "no end recorded" in shown.stdout


def test_the_site_s_operator_reads_what_failed_here_although_the_director_was_not_told(
    run: Callable[..., Result],
) -> None:
    with closing(SQLITE.site(SiteFiles(Path("envoy-bern")))) as store:
        number = store.begin(SitePart("digits-3", ADA, "ab" * 32, 10.0))
        said = "no column 'Anna \x1b[2J Muster'"
        done = PerformedTasks(20.0, 1, Phase.TRAIN, ("train",), said)
        kept = "site 'bern' failed in task 'train': KeyError: what it said stays at the site, which keeps its logs"
        store.end(number, PartEnd.FAILED, kept, 20.0, [done])
    shown = run("-n", "bern").stdout
    _, failures = shown.split("what failed at this site\n")
    lines = [line for line in failures.splitlines() if line.startswith("digits-")]
    assert [line.split()[:2] for line in lines] == [["digits-1", "2"], ["digits-3", "1"]]
    assert "ValueError: two" in lines[0]
    assert "no column 'Anna" in lines[1]
    assert "\x1b" not in shown


def performed(rounds: int) -> Iterator[PerformedTasks]:
    """What the site does for heart_disease that makes the initial model, in so many rounds."""
    yield PerformedTasks(0.5, 0, Phase.INITIALISE, ("initialise",))
    for number in range(1, rounds + 1):
        yield PerformedTasks(number, number, Phase.TRAIN, ("train",))
        yield PerformedTasks(number + 0.5, number, Phase.EVALUATE, ("validate",))


def test_the_sample_in_the_documentation_is_what_is_printed_of_such_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envoy-cleveland").mkdir()
    begin = datetime(2026, 3, 2, 9, 14, 3, tzinfo=UTC).timestamp()
    whole, cut = list(performed(30)), list(performed(2))[:-1]
    with closing(SQLITE.site(SiteFiles(tmp_path / "envoy-cleveland"))) as store:
        first = store.begin(SitePart("heart_disease-1a2b3c4d", ADA, "ab" * 32, begin))
        store.end(first, PartEnd.FINISHED, "30 of 30 rounds are done", begin + 97, whole)
        second = store.begin(SitePart("heart_disease-5e6f7a8b", "fx://hospitals/user/bob", "cd" * 32, begin + 2828))
        store.end(second, PartEnd.CANCELLED, "cancelled by bob", begin + 2869, cut)
    shown = CliRunner().invoke(fx, ["envoy", "history", "-n", "cleveland"]).stdout
    assert f"$ fx envoy history -n cleveland\n{shown}```" in (DOCS / "operations.md").read_text()


def test_programs_get_values(run: Callable[..., Result]) -> None:
    first, second = json.loads(run("--directory", "envoy-bern", "--json").stdout)["data"]
    assert (first["identity"], first["end"], first["standing"]) == (ADA, "CANCELLED", "CANCELLED")
    assert [(item["round"], item["tasks"], item["failure"]) for item in first["performed"]] == [
        (0, ["validate"], ""),
        (1, ["train"], ""),
        (2, ["train"], "ValueError: two"),
    ]
    assert (second["end"], second["standing"], second["performed"]) == (None, "no end recorded", [])


def test_a_spreadsheet_gets_a_line_for_each_time_and_one_for_what_did_nothing(run: Callable[..., Result]) -> None:
    head, *lines = run("-n", "bern", "--csv").stdout.splitlines()
    columns = "number,experiment,identity,bundle,began_utc,ended_utc,standing,reason,time_utc,round,phase,tasks,failure"
    assert head == columns
    assert [line.split(",")[1] for line in lines] == ["digits-1"] * 3 + ["digits-00000002"]


def test_what_others_wrote_is_no_formula_in_a_spreadsheet(run: Callable[..., Result]) -> None:
    formula = '=HYPERLINK("http://example.org","why")'
    with closing(SQLITE.site(SiteFiles(Path("envoy-bern")))) as store:
        number = store.begin(SitePart("digits-3", ADA, "ab" * 32, 10.0))
        done = PerformedTasks(1.5, -1, Phase.TRAIN, ("@train",), "-1")
        store.end(number, PartEnd.FAILED, formula, 20.0, [done])
    last = list(csv.DictReader(io.StringIO(run("-n", "bern", "--csv").stdout)))[-1]
    assert (last["reason"], last["tasks"], last["failure"]) == (f"'{formula}", "'@train", "'-1")
    assert (last["round"], last["identity"]) == ("-1", ADA)  # a number stays one
    assert (last["began_utc"], last["time_utc"]) == ("1970-01-01 00:00:10.000", "1970-01-01 00:00:01.500")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "which site?"),
        (("-n", "bern", "--csv", "--json"), "--csv and --json exclude each other"),
        (("-n", "basel"), "there is no record of a site"),
    ],
)
def test_what_cannot_be_answered_has_its_cure(run: Callable[..., Result], options: tuple[str, ...], told: str) -> None:
    refused = run(*options)
    assert refused.exit_code != 0
    assert told in str(refused.exception)
    assert not Path("envoy-basel").exists()
