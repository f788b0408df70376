"""What the commands print: tables for people, JSON that parses, and an exit that says how it went."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import pytest
from click.testing import CliRunner, Result

from openfl_like.api import federation as api
from openfl_like.cli.main import fx
from openfl_like.errors import (
    MEANINGS,
    ExperimentCancelledError,
    ExperimentDegradedError,
    ExperimentFailedError,
    FederationError,
    UsageError,
)
from openfl_like.federation.events import ModelVersion, Status
from openfl_like.federation.parties import (
    DeviceStatistics,
    DirectorStatus,
    EnvoyDetail,
    EnvoyRecord,
    EventRecord,
    ExperimentRecord,
    ExperimentSummary,
    LogLines,
    PublishedVersion,
    ShardFacts,
)
from openfl_like.federation.rounds import Contribution, RoundRecord

ROUND = {
    "round": 1,
    "metrics": {"accuracy": 0.5, "validate.accuracy": 0.4},
    "contributors": ["bern"],
    "absent": {"zurich": "left: no power"},
    "best": True,
    "seconds": 1.25,
}
EVENTS = [
    EventRecord(1, 1.0, "collaborator_joined", {"collaborator": "bern"}),
    EventRecord(2, 2.0, "assignment_sent", {"collaborator": "bern"}),
    EventRecord(3, 3.0, "round_finished", ROUND),
]


def summary(status: Status = Status.QUEUED, reason: str = "") -> ExperimentSummary:
    return ExperimentSummary("digits-1", "digits", status, reason, "alice", 1_700_000_000.0, plan_digest="ab")


class FakeFederation:
    """`api.Federation` with a Director that answers at once."""

    end = summary(Status.FINISHED, "all rounds")
    asked: "list[object]"

    def __init__(self, director: str, certificates: Path) -> None:
        FakeFederation.asked = [director, certificates]

    def __enter__(self) -> "FakeFederation":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def submit(
        self,
        plan: Path,
        overrides: tuple[str, ...],
        *,
        initial_model: Path | None = None,
        evaluate: dict[str, Path] | None = None,
    ) -> ExperimentSummary:
        self.asked += [plan, overrides, *([initial_model] if initial_model else [])]
        self.asked += [evaluate] if evaluate is not None else []
        return summary()

    def experiments(self) -> list[ExperimentSummary]:
        return [summary(), summary(Status.FAILED, "no sites")]

    def experiment(self, _: str) -> ExperimentRecord:
        version = PublishedVersion(ModelVersion(1, "dd", {"accuracy": 0.5}, best=True), "5a" * 32, 2.0)
        surplus = {"bern": {"late": 2, "repeated": 3}, "zurich": {"unasked": 1}}
        return ExperimentRecord(self.end, (version,), "{}", surplus)

    def watch(self, _: str, after: int = 0) -> Iterator[ExperimentSummary | EventRecord]:
        yield summary()
        yield from (event for event in EVENTS if event.sequence > after)
        yield self.end

    def rounds(self, _: str) -> Iterator[RoundRecord]:
        parts = {"bern": Contribution(1.0, "b3" * 32)}
        away = {"zurich": "left: no power"}
        yield RoundRecord(1, "dd", {"accuracy": 0.5}, ("bern", "zurich"), parts, away, ("bern",), away)
        yield RoundRecord(2, "de", {}, ("bern",), parts, {}, (), {"bern": "failed in task 'validate': boom"})

    def logs(self, experiment: str, source: str) -> Iterator[LogLines]:
        yield LogLines(experiment, source or "aggregator", ("one", "two"))

    def cancel(self, _: str) -> ExperimentSummary:
        return summary(Status.CANCELLED, "cancelled by alice")

    def resume(self, _: str) -> ExperimentSummary:
        return summary(reason="resumed by alice")

    @property
    def checkpoints(self) -> "FakeFederation":
        return self

    def fetch(self, experiment: str, path: Path) -> Path:
        path.write_text(experiment)
        return path

    def deliver(self, path: Path) -> ExperimentSummary:
        self.asked.append(path)
        return summary(Status.CANCELLED, "cancelled by bob")

    def model(self, _: str, which: str, path: Path) -> Path:
        path.write_text(which)
        return path

    def status(self) -> DirectorStatus:
        return DirectorStatus("0.1", ("there is no room on the disk of /var/fx",), queued=3, running=1, envoys=2)

    def envoys(self) -> list[EnvoyRecord]:
        devices = DeviceStatistics(cpu_percent=12.3, memory_total_bytes=4 << 30, memory_used_bytes=1 << 30)
        facts = ShardFacts((8, 8), (), "digits", {"counts": {"train": 5}})
        return [EnvoyRecord("bern", online=True, last_seen=1.0, shard=facts, devices=devices, running=("digits-1",))]

    def envoy(self, name: str) -> EnvoyDetail:
        return EnvoyDetail(replace(self.envoys()[0], name=name))


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setattr(api, "Federation", FakeFederation)
    monkeypatch.setattr(FakeFederation, "end", summary(Status.FINISHED, "all rounds"))
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str, **environment: str) -> Result:
        where = {"FX_DIRECTOR": "director:1", "FX_CERTIFICATES": "certs/user/alice"} | environment
        return CliRunner(env=where).invoke(fx, list(words), standalone_mode=False)

    return invoke


def fine(result: Result) -> str:
    assert result.exception is None, result.exception
    return result.stdout


def failed(result: Result) -> FederationError:
    assert isinstance(result.exception, FederationError)
    return result.exception


COMMANDS = {
    "experiment submit": ["plan.yaml"],
    "experiment evaluate": ["plan.yaml", "-m", "all=model.safetensors"],
    "experiment list": [],
    "experiment show": ["digits-1"],
    "experiment watch": ["digits-1"],
    "experiment logs": ["digits-1"],
    "experiment cancel": ["digits-1"],
    "experiment resume": ["digits-1"],
    "experiment model": ["digits-1"],
    "experiment export": ["digits-1"],
    "experiment import": ["checkpoint.tar"],
    "envoy list": [],
    "envoy show": ["bern"],
    "director status": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_json_parses_line_by_line_and_nothing_else_is_on_stdout(run: Run, command: str) -> None:
    output = fine(run(*command.split(), *COMMANDS[command], "--json"))
    values = [json.loads(line) for line in output.splitlines()]
    assert values
    assert all(isinstance(value, dict | list) for value in values)


@pytest.mark.parametrize("command", COMMANDS)
def test_without_json_people_can_read_it(run: Run, command: str) -> None:
    output = fine(run(*command.split(), *COMMANDS[command]))
    assert output
    assert "ExperimentSummary(" not in output
    assert "<Status." not in output


def test_where_and_who_come_from_options_or_the_environment(run: Run) -> None:
    fine(run("experiment", "list"))
    assert FakeFederation.asked == ["director:1", Path("certs/user/alice")]
    fine(run("experiment", "list", "-d", "elsewhere:2", "--certificates", "mine"))
    assert FakeFederation.asked == ["elsewhere:2", Path("mine")]


def test_the_only_user_certificate_is_taken(run: Run, tmp_path: Path) -> None:
    (tmp_path / "certs" / "user" / "alice").mkdir(parents=True)
    fine(run("experiment", "list", FX_CERTIFICATES=""))
    assert FakeFederation.asked[1] == Path("certs/user/alice")
    (tmp_path / "certs" / "user" / "bob").mkdir()
    error = failed(run("experiment", "list", FX_CERTIFICATES=""))
    assert isinstance(error, UsageError)
    assert "there are alice, bob below certs/user (name it with --certificates" in str(error)


def test_submit_prints_the_id_for_scripts(run: Run) -> None:
    assert fine(run("experiment", "submit", "plan.yaml", "-s", "seed=1", "-s", "name=x")) == "digits-1\n"
    assert FakeFederation.asked[2:] == [Path("plan.yaml"), ("seed=1", "name=x")]


def test_models_to_evaluate_are_named(run: Run) -> None:
    assert fine(run("experiment", "evaluate", "plan.yaml", "-m", "a=x", "-m", "b=y/z")) == "digits-1\n"
    assert FakeFederation.asked[2:] == [Path("plan.yaml"), (), {"a": Path("x"), "b": Path("y/z")}]
    assert isinstance(failed(run("experiment", "evaluate", "plan.yaml", "-m", "a")), UsageError)


def test_show_has_the_matrix_of_given_models(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = {"bern": {"all": {"accuracy": 0.5}, "own": {"accuracy": 0.75}}}
    version = PublishedVersion(ModelVersion(1, "dd", {"accuracy@all": 0.5}), "5a" * 32, 2.0)
    record = ExperimentRecord(FakeFederation.end, (version,), "{}", {})
    monkeypatch.setattr(FakeFederation, "experiment", lambda *_: record)
    monkeypatch.setattr(FakeFederation, "rounds", lambda *_: iter([RoundRecord(1, "dd", matrix=matrix)]))
    assert json.loads(fine(run("experiment", "show", "digits-1", "--json")))["matrix"] == matrix
    assert "bern  accuracy 0.5  accuracy 0.75" in fine(run("experiment", "show", "digits-1"))


def test_watch_shows_a_line_per_event_that_people_need(run: Run) -> None:
    assert fine(run("experiment", "watch", "digits-1")).splitlines() == [
        "bern joined",
        "round   1    1.25 s  accuracy 0.5  best so far  [bern; without zurich (left: no power)]",
    ]
    assert "bern joined" not in fine(run("experiment", "watch", "digits-1", "--after", "1"))


def test_watch_as_json_has_every_event_and_both_summaries(run: Run) -> None:
    values = [json.loads(line) for line in fine(run("experiment", "watch", "digits-1", "--json")).splitlines()]
    assert [value["kind"] for value in values] == [
        "summary", "collaborator_joined", "assignment_sent", "round_finished", "summary",
    ]  # fmt: skip
    assert values[-1]["status"] == "FINISHED"
    assert values[3]["fields"] == ROUND


@pytest.mark.parametrize(
    "words", [("watch", "digits-1"), ("submit", "plan.yaml", "--watch"), ("resume", "digits-1", "--watch")]
)
@pytest.mark.parametrize(
    ("status", "kind"), [(Status.FAILED, ExperimentFailedError), (Status.CANCELLED, ExperimentCancelledError)]
)
def test_the_exit_says_how_it_ended(
    run: Run, words: tuple[str, ...], status: Status, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeFederation, "end", summary(status, "site 'bern': no data"))
    error = failed(run("experiment", *words))
    assert type(error) is kind
    assert "site 'bern': no data" in str(error)


def test_finished_on_fewer_sites_than_asked_has_an_exit_code_of_its_own(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = replace(summary(Status.FINISHED, "all"), degraded=True, shortfalls={"bern": "round 2: left"})
    monkeypatch.setattr(FakeFederation, "end", end)
    error = failed(run("experiment", "watch", "digits-1"))
    assert isinstance(error, ExperimentDegradedError)
    assert "FINISHED (DEGRADED): all; site 'bern': round 2: left" in str(error)
    assert MEANINGS[type(error)].exit_code == 7
    assert "FINISHED (DEGRADED)" in fine(run("experiment", "show", "digits-1"))
    assert json.loads(fine(run("experiment", "show", "digits-1", "--json")))["summary"]["degraded"] is True


def test_absences_of_each_round_are_shown_with_their_reasons(run: Run) -> None:
    title, head, first, second = fine(run("experiment", "rounds", "digits-1")).splitlines()
    assert (title, head.split()) == (
        "rounds",
        ["round", "selected", "contributors", "absent", "evaluated", "by", "not", "evaluated", "by"],
    )
    assert re.split(r"\s{2,}", first) == ["1", "bern, zurich", "bern 1", "zurich: left: no power", "bern"]
    assert second.endswith("bern: failed in task 'validate': boom")
    one, _ = map(json.loads, fine(run("experiment", "rounds", "digits-1", "--json")).splitlines())
    assert one["contributors"] == {"bern": {"weight": 1.0, "digest": "b3" * 32}}
    assert one["absent"] == one["unevaluated"] == {"zurich": "left: no power"}


def test_the_model_s_file_and_checksum_are_told(run: Run, tmp_path: Path) -> None:
    found = json.loads(fine(run("experiment", "model", "digits-1", "--which", "last", "--json")))
    assert found["file"] == "digits-1-last.safetensors"
    assert (tmp_path / found["file"]).read_text() == "last"
    assert found["bytes"] == 4
    assert len(found["sha256"]) == 64


def test_a_checkpoint_is_written_where_it_is_wanted(run: Run, tmp_path: Path) -> None:
    assert json.loads(fine(run("experiment", "export", "digits-1", "--json")))["file"] == "digits-1.tar"
    fine(run("experiment", "export", "digits-1", "-o", "out.tar"))
    assert (tmp_path / "out.tar").read_text() == (tmp_path / "digits-1.tar").read_text() == "digits-1"
    error = failed(run("experiment", "export", "digits-1", "-o", "nowhere/out.tar"))
    assert "there is no folder" in str(error)


def test_import_prints_the_id_for_scripts(run: Run) -> None:
    assert fine(run("experiment", "import", "checkpoint.tar")) == "digits-1\n"
    assert FakeFederation.asked[2:] == [Path("checkpoint.tar")]
    assert json.loads(fine(run("experiment", "import", "c.tar", "--json")))["status"] == "CANCELLED"


def test_updates_that_could_not_count_are_shown_for_each_site(run: Run) -> None:
    lines = fine(run("experiment", "show", "digits-1")).splitlines()
    assert "update surplus  bern: 2 late, 3 repeated; zurich: 1 unasked" in lines
    found = json.loads(fine(run("experiment", "show", "digits-1", "--json")))["update_surplus"]
    assert found == {"bern": {"late": 2, "repeated": 3}, "zurich": {"unasked": 1}}


def test_logs_name_their_source(run: Run) -> None:
    assert fine(run("experiment", "logs", "digits-1", "--site", "bern")) == "bern: one\nbern: two\n"


def test_a_director_without_room_is_degraded_and_says_why(run: Run) -> None:
    output = fine(run("director", "status"))
    assert "degraded" in output
    assert "there is no room on the disk of /var/fx" in output
    found = json.loads(fine(run("director", "status", "--json")))
    assert (found["health"], found["queued"], found["problems"]) == (
        "degraded", 3, ["there is no room on the disk of /var/fx"],
    )  # fmt: skip


def test_the_table_of_envoys(run: Run) -> None:
    output = fine(run("envoy", "list"))
    title, head, row = output.splitlines()
    assert (title, head.split()[:2]) == ("envoys", ["envoy", "online"])
    assert re.split(r"  +", row) == ["bern", "yes", "train 5", "8x8", "12 %", "1.0/4.0", "none", "digits-1"]


def test_one_envoy_is_shown_line_by_line(run: Run) -> None:
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in fine(run("envoy", "show", "bern")).splitlines())
    assert (lines["envoy"], lines["memory"], lines["running"]) == ("bern", "1.0 of 4.0 GiB", "digits-1")


def test_installed_templates_as_json(run: Run) -> None:
    names = {row["template"] for row in json.loads(fine(run("workspace", "templates", "--json")))}
    assert "torch_digits" in names
