"""What the commands print: tables for people, JSON that parses, and an exit that says how it went."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from answers import AWAY, ROUND, Answers, Run, connected, data, fine, summary
from click.testing import Result

from openfl_like.cli.status import _own_warnings as own_warnings
from openfl_like.error_meanings import MEANINGS
from openfl_like.errors import (
    ExperimentCancelledError,
    ExperimentDegradedError,
    ExperimentFailedError,
    FederationError,
    UsageError,
)
from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    CollaboratorAbsent,
    CollaboratorAdmitted,
    CollaboratorAway,
    ExperimentEnded,
    ExperimentResumed,
    RoundStarted,
    fields_of,
)
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.history.rounds import RoundRecord
from openfl_like.federation.parties import (
    DirectorStatus,
    ExperimentRecord,
    ExperimentSummary,
    PublishedVersion,
)
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.federation.unmeasured import MetricMissing
from openfl_like.pki.roles import Role
from openfl_like.plan.digest import frozen_values
from openfl_like.plan.schema import Best, ModelStore
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.faults.checkpoint_moves import PLAN


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return connected(monkeypatch, tmp_path)


def failed(result: Result) -> FederationError:
    assert isinstance(result.exception, FederationError)
    return result.exception


COMMANDS = {
    "experiment submit": ["plan.yaml"],
    "experiment evaluate": ["plan.yaml", "-m", "all=model.safetensors"],
    "experiment list": [],
    "experiment show": ["digits-1"],
    "experiment watch": ["digits-1"],
    "experiment why": ["digits-1"],
    "experiment logs": ["digits-1"],
    "experiment cancel": ["digits-1"],
    "experiment resume": ["digits-1"],
    "experiment remove": ["digits-1"],
    "experiment model": ["digits-1"],
    "experiment export": ["digits-1"],
    "experiment import": ["checkpoint.tar"],
    "envoy list": [],
    "envoy show": ["bern"],
    "experiment rounds": ["digits-1"],
    "experiment metrics": ["digits-1"],
    "status": [],
}


STREAMS = ("experiment watch", "experiment logs")


@pytest.mark.parametrize("command", COMMANDS)
def test_json_is_one_document_or_a_line_for_each_thing_and_nothing_else_is_on_stdout(run: Run, command: str) -> None:
    result = run(*command.split(), *COMMANDS[command], "--json")
    if command not in STREAMS:
        assert isinstance(data(result), dict | list)
        assert result.stdout.count("\n") == 1
        return
    values = [json.loads(line) for line in fine(result).splitlines()]
    assert values
    assert all(isinstance(value, dict) and "ok" not in value for value in values)


@pytest.mark.parametrize("command", ["submit plan.yaml", "resume digits-1"])
def test_who_follows_gets_lines_with_what_happens(run: Run, command: str) -> None:
    values = [json.loads(line) for line in fine(run("experiment", *command.split(), "-w", "--json")).splitlines()]
    assert [value["kind"] for value in values][::4] == ["summary", "summary"]


@pytest.mark.parametrize("command", COMMANDS)
def test_without_json_people_can_read_it(run: Run, command: str) -> None:
    output = fine(run(*command.split(), *COMMANDS[command]))
    assert output
    assert "ExperimentSummary(" not in output
    assert "<Status." not in output


def test_where_and_who_come_from_options_or_the_environment(run: Run) -> None:
    fine(run("experiment", "list"))
    assert Answers.asked == ["director:1", Path("certs/user/alice")]
    fine(run("experiment", "list", "-d", "elsewhere:2", "--certificates", "mine"))
    assert Answers.asked == ["elsewhere:2", Path("mine")]


def test_the_only_user_certificate_is_taken(run: Run, tmp_path: Path) -> None:
    (tmp_path / "certs" / "user" / "alice").mkdir(parents=True)
    fine(run("experiment", "list", FX_CERTIFICATES=""))
    assert Answers.asked[1] == Path("certs/user/alice")
    (tmp_path / "certs" / "user" / "bob").mkdir()
    error = failed(run("experiment", "list", FX_CERTIFICATES=""))
    assert isinstance(error, UsageError)
    assert "there are alice, bob below certs/user (name it with --certificates" in str(error)


def test_submit_prints_the_id_for_scripts(run: Run) -> None:
    assert fine(run("experiment", "submit", "plan.yaml", "-s", "seed=1", "-s", "name=x")) == "digits-1\n"
    assert Answers.asked[2:] == [Path("plan.yaml"), ("seed=1", "name=x")]


def test_submit_lists_what_is_sent(run: Run) -> None:
    told = run("experiment", "submit", "plan.yaml").stderr
    assert "travels to the Director and every site: the plan and 1 file, 1,200 bytes\n" in told
    assert "1,200  src/digits.py" in told


def test_models_to_evaluate_are_named(run: Run) -> None:
    assert fine(run("experiment", "evaluate", "plan.yaml", "-m", "a=x", "-m", "b=y/z")) == "digits-1\n"
    assert Answers.asked[2:] == [Path("plan.yaml"), (), {"a": Path("x"), "b": Path("y/z")}]
    assert isinstance(failed(run("experiment", "evaluate", "plan.yaml", "-m", "a")), UsageError)


def test_show_has_the_matrix_of_given_models(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = {"bern": {"all": {"accuracy": 0.5}, "own": {"accuracy": 0.75}}}
    version = PublishedVersion(ModelVersion(1, "dd", {"accuracy@all": 0.5}), "5a" * 32, 2.0)
    record = ExperimentRecord(Answers.end, (version,), "{}", {})
    asked: list[str] = []

    def experiment(_: Answers, name: str) -> ExperimentRecord:
        asked.append(name)
        return record

    monkeypatch.setattr(Answers, "experiment", experiment)
    monkeypatch.setattr(Answers, "rounds", lambda *_: iter([RoundRecord(1, "dd", matrix=matrix)]))
    assert data(run("experiment", "show", "digits-1", "--json"))["matrix"] == matrix
    assert asked == ["digits-1"]
    assert "bern  accuracy 0.5  accuracy 0.75" in fine(run("experiment", "show", "digits-1"))


def test_show_says_which_models_can_be_fetched(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [PublishedVersion(ModelVersion(number, "dd", {"loss": 0.5}), "", 2.0) for number in (1, 2)]
    record = ExperimentRecord(Answers.end, tuple(made), "{}", {})
    monkeypatch.setattr(Answers, "experiment", lambda *_: record)
    assert "gone" not in fine(run("experiment", "show", "digits-1"))  # a Director of an older release does not say
    known = replace(record, versions=(replace(made[0], kept=False), replace(made[1], kept=True)))
    monkeypatch.setattr(Answers, "experiment", lambda *_: known)
    lines = [line.split() for line in fine(run("experiment", "show", "digits-1")).splitlines()]
    assert ["1", "0.5000", "gone"] in lines
    assert ["2", "0.5000", "kept"] in lines


def test_what_is_resumed_is_watched_from_its_new_life_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lives: list[Announcement] = [
        ExperimentEnded(Status.FAILED, "no sites"),
        ExperimentResumed("bob"),
        ExperimentEnded(Status.FAILED, "no sites again"),
        ExperimentResumed("alice"),
        CollaboratorAdmitted("bern"),
    ]
    events = [Announced(number, 1.0, told) for number, told in enumerate(lives, 1)]

    def watch(
        _: Answers, __: str, after: int = 0, *, stored: bool = False, progress: bool = False
    ) -> Iterator[ExperimentSummary | Announced]:
        del progress
        yield from (event for event in events if event.sequence > after)
        if not stored:
            yield summary(Status.FINISHED, "all rounds")

    monkeypatch.setattr(Answers, "watch", watch)
    assert fine(run("experiment", "resume", "digits-1", "--watch")).splitlines() == ["resumed by alice", "bern joined"]
    assert "FAILED: no sites again" in fine(run("experiment", "watch", "digits-1"))


def test_watch_shows_a_line_per_event_that_people_need(run: Run) -> None:
    assert fine(run("experiment", "watch", "digits-1")).splitlines() == [
        "bern joined",
        "sites: bern; without zurich (left: no power)",
        "round  1    1.25 s  accuracy 0.5000  best so far",
    ]
    assert "bern joined" not in fine(run("experiment", "watch", "digits-1", "--after", "1"))


def test_watch_as_json_has_every_event_and_both_summaries(run: Run) -> None:
    values = [json.loads(line) for line in fine(run("experiment", "watch", "digits-1", "--json")).splitlines()]
    assert [value["kind"] for value in values] == [
        "summary", "collaborator_joined", "assignment_sent", "round_finished", "summary",
    ]  # fmt: skip
    assert values[-1]["status"] == "FINISHED"
    assert values[3]["fields"] == json.loads(json.dumps(fields_of(ROUND)))
    assert [*values[3]] == ["sequence", "time", "kind", "fields"]


@pytest.mark.parametrize(
    "words", [("watch", "digits-1"), ("submit", "plan.yaml", "--watch"), ("resume", "digits-1", "--watch")]
)
@pytest.mark.parametrize(
    ("status", "kind"), [(Status.FAILED, ExperimentFailedError), (Status.CANCELLED, ExperimentCancelledError)]
)
def test_the_exit_says_how_it_ended(
    run: Run, words: tuple[str, ...], status: Status, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "end", summary(status, "site 'bern': no data"))
    error = failed(run("experiment", *words))
    assert type(error) is kind
    assert "site 'bern': no data" in str(error)


def test_fewer_sites_than_asked_have_an_exit_code_of_their_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    end = replace(summary(Status.FINISHED, "all"), degraded=True, shortfalls={"bern": replace(AWAY, round=2)})
    monkeypatch.setattr(Answers, "end", end)
    error = failed(run("experiment", "watch", "digits-1"))
    assert isinstance(error, ExperimentDegradedError)
    assert "FINISHED (DEGRADED): all; site 'bern': round 2: left: no power" in str(error)
    assert MEANINGS[type(error)].exit_code == 7
    assert "FINISHED (DEGRADED)" in fine(run("experiment", "show", "digits-1"))
    assert data(run("experiment", "show", "digits-1", "--json"))["summary"]["degraded"] is True


def test_absences_of_each_round_are_shown_with_their_reasons(run: Run) -> None:
    title, head, first, second, third = fine(run("experiment", "rounds", "digits-1")).splitlines()
    assert (title, head.split()) == (
        "rounds",
        ["round", "status", "contributors", "absent", "evaluated", "by", "not", "evaluated", "by"],
    )
    assert re.split(r"\s{2,}", first) == ["1", "FINISHED", "bern 1", "zurich: left: no power", "contributors"]
    assert second.endswith("bern: failed in task 'validate': boom")
    assert re.split(r"\s{2,}", third) == ["3", "FAILED", "bern: failed in task 'validate': boom"]
    one, _, failed = data(run("experiment", "rounds", "digits-1", "--json"))
    assert (one["status"], failed["status"], failed["contributors"]) == ("FINISHED", "FAILED", {})
    assert one["contributors"] == {"bern": {"weight": 1.0, "digest": "b3" * 32}}
    assert one["absent"] == one["unevaluated"]
    assert (one["absent"]["zurich"]["kind"], one["absent"]["zurich"]["message"]) == ("left", "no power")


def test_the_model_s_file_and_checksum_are_told(run: Run, tmp_path: Path) -> None:
    found = data(run("experiment", "model", "digits-1", "--which", "last", "--json"))
    assert found["file"] == "digits-1-last.safetensors"
    assert (tmp_path / found["file"]).read_text() == "last"
    assert found["bytes"] == 4
    assert len(found["sha256"]) == 64


def test_a_checkpoint_is_written_where_it_is_wanted(run: Run, tmp_path: Path) -> None:
    assert data(run("experiment", "export", "digits-1", "--json"))["file"] == "digits-1.tar"
    fine(run("experiment", "export", "digits-1", "-o", "out.tar"))
    assert (tmp_path / "out.tar").read_text() == (tmp_path / "digits-1.tar").read_text() == "digits-1"
    error = failed(run("experiment", "export", "digits-1", "-o", "nowhere/out.tar"))
    assert "there is no folder" in str(error)


def test_import_prints_the_id_for_scripts(run: Run) -> None:
    assert fine(run("experiment", "import", "checkpoint.tar")) == "digits-1\n"
    assert Answers.asked[2:] == [Path("checkpoint.tar")]
    assert data(run("experiment", "import", "c.tar", "--json"))["status"] == "CANCELLED"


def test_updates_that_could_not_count_are_shown_for_each_site(run: Run) -> None:
    lines = fine(run("experiment", "show", "digits-1")).splitlines()
    assert "update surplus  bern: 2 late, 3 repeated; zurich: 1 unasked" in lines
    found = data(run("experiment", "show", "digits-1", "--json"))["update_surplus"]
    assert found == {"bern": {"late": 2, "repeated": 3}, "zurich": {"unasked": 1}}


def test_logs_name_their_source(run: Run) -> None:
    assert (
        fine(run("experiment", "logs", "digits-1", "--site", "bern"))
        == "bern: worker: one\nbern: worker: two \\x1b[2J\n"
    )
    assert Answers.asked[2:] == ["", False]
    fine(run("experiment", "logs", "-f", "digits-1", "--role", "worker"))
    assert Answers.asked[2:] == ["worker", True]


def test_what_a_site_says_cannot_steer_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "\x1b[2J\x9bno\rdata\u202e"
    monkeypatch.setattr(Answers, "end", summary(Status.FAILED, evil))
    told = Announced(1, 1.0, CollaboratorAway("bern", evil + "\n"))
    monkeypatch.setattr(Answers, "watch", lambda *_, **__: iter([told, summary(Status.FAILED, evil)]))
    shown = [run("experiment", *words).stdout for words in (("show", "d"), ("list",), ("watch", "d"), ("cancel", "d"))]
    shown[-1] += run("envoy", "list").stdout
    assert "\\x1b[2J\\x9bno\\rdata\\u202e" in shown[0]
    assert not set("".join(shown)) & set("\x1b\x9b\r\u202e")


def test_who_removes_an_experiment_is_told_what_has_gone(run: Run) -> None:
    done = run("experiment", "remove", "digits-1")
    assert done.stdout == "digits-1: removed: its record, its bundle and 3 models, 4,096 bytes\n"
    assert data(run("experiment", "remove", "digits-1", "--json")) == {
        "experiment": "digits-1",
        "models": 3,
        "freed_bytes": 4096,
    }


def test_why_names_the_first_cause_with_the_log_of_its_site(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "round 2: 1 of 1 updates is needed, 0 can come: site 'bern' failed in task 'train': ValueError: two"
    monkeypatch.setattr(Answers, "end", summary(Status.FAILED, reason))
    found = fine(run("experiment", "why", "digits-1"))
    assert found.splitlines() == [
        "cause: ValueError: two",
        "do: mend src/model.py:7, then submit the plan again",
        "where: site 'bern', train, round 2, src/model.py:7",
        "batch: samples float32[16, 30], targets int64[16]",
        "when:  2023-11-14 22:13:20Z",
        "digits-1 is FAILED",
        "from the log of bern:",
        "  one",
        "  two \\x1b[2J",
    ]
    told = data(run("experiment", "why", "digits-1", "--json"))
    assert (told["verdict"], told["cause"]["site"], told["evidence"]["lines"][0]) == ("failed", "bern", "one")


def test_why_names_the_call_and_the_batch_where_no_line_is_the_workspaces(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, batch = "outputs = self._module(samples)", "samples float32[16, 30], targets int64[16]"
    failure = Failure(
        FailureKind.TASK, "no", "RuntimeError", call=call, samples="float32[16, 30]", targets="int64[16]",
        phase=Phase.TRAIN, round=1, site="bern",
    )  # fmt: skip
    end = replace(summary(Status.FAILED, "no"), failure=failure)
    monkeypatch.setattr(Answers, "end", end)
    monkeypatch.setattr(Answers, "watch", lambda *_, **__: iter([end]))
    assert fine(run("experiment", "why", "digits-1")).splitlines()[:4] == [
        "cause: RuntimeError: no",
        f"do: see that the model of the workspace takes such a batch ({batch}); then submit the plan again",
        f"where: site 'bern', train, round 1, the training loop's own call '{call}'",
        f"batch: {batch}",
    ]
    assert data(run("experiment", "why", "digits-1", "--json"))["cause"]["call"] == call


def test_a_site_that_refuses_a_model_for_its_size_is_told_with_code_and_both_ways_out(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "the model of the experiment 'e-1' has 2,000,000 bytes, this site takes 1,000,000 at most"
    refused = Failure(FailureKind.ORDER, message, "ModelTooLargeError", round=1, site="bern")
    told = CollaboratorAbsent(1, Phase.TRAIN, "bern", str(refused), refused)
    events = [Announced(1, 1.0, RoundStarted(1, ("bern",))), Announced(2, 2.0, told)]
    quorum = Failure(FailureKind.QUORUM, "1 of 1 updates is needed, 0 can come", round=1)
    end = replace(summary(Status.FAILED, "no"), failure=quorum)
    monkeypatch.setattr(Answers, "end", end)
    monkeypatch.setattr(Answers, "watch", lambda *_, **__: iter([*events, end]))
    first, second, *_ = fine(run("experiment", "why", "digits-1")).splitlines()
    assert first == f"cause: E309: ModelTooLargeError: {message}"
    assert second == (
        "do: make the model smaller, then submit the plan again; or ask whoever runs site bern to raise "
        "limits.model_gb in its shard.yaml, then fx experiment resume digits-1"
    )


def test_why_and_show_say_that_no_site_reports_what_the_plan_goes_by(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told = MetricMissing(1, "acuracy", ("model_store.best.metric",), ("accuracy", "loss"))
    events = [Announced(1, 1.0, told), summary(Status.FINISHED, "all rounds")]
    monkeypatch.setattr(Answers, "watch", lambda *_, **__: iter(events))
    best = ModelStore(best=Best(metric="acuracy", mode="max"))
    plan = frozen_values(PLAN.model_copy(update={"model_store": best}))
    version = PublishedVersion(ModelVersion(1, "dd", {"accuracy": 0.5, "loss": 0.25}), "5a" * 32, 2.0)
    record = ExperimentRecord(Answers.end, (version,), json.dumps(plan), {})
    monkeypatch.setattr(Answers, "experiment", lambda *_: record)
    missing = (
        "missing: round 1: no site has reported the metric 'acuracy' (model_store.best.metric); reported: "
        "accuracy, loss"
    )
    assert fine(run("experiment", "why", "digits-1")).splitlines() == [
        "digits-1 is FINISHED: all rounds, but its plan goes by 'acuracy', which no site reports",
        missing,
        "do: fetch its last model: fx experiment model digits-1 --which last; name a metric that the sites report in "
        "model_store.best.metric of the plan, and submit it again",
    ]
    found = data(run("experiment", "why", "digits-1", "--json"))["missing_metrics"]
    assert [(item["metric"], item["wanted_by"]) for item in found] == [("acuracy", ["model_store.best.metric"])]
    assert missing in fine(run("experiment", "show", "digits-1")).splitlines()


def test_why_says_that_nothing_went_wrong_or_what_it_waits_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fine(run("experiment", "why", "digits-1")).splitlines() == [
        "digits-1 is FINISHED: nothing went wrong: all rounds",
        "do: fetch its model: fx experiment model digits-1",
    ]
    monkeypatch.setattr(Answers, "end", summary())
    assert "it waits for the Director: there is no room on the disk" in fine(run("experiment", "why", "digits-1"))
    healthy = DirectorStatus("0.1")
    monkeypatch.setattr(Answers, "status", lambda _: healthy)
    first = replace(summary(Status.RUNNING), id="digits-0")
    monkeypatch.setattr(Answers, "experiments", lambda _: [first, summary()])
    assert "it is queued: its turn comes after digits-0" in fine(run("experiment", "why", "digits-1"))


def test_one_look_shows_the_whole_federation(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    bern = Answers.envoys(Answers("", Path()))[0]
    monkeypatch.setattr(Answers, "envoys", lambda _: [bern, replace(bern, name="zurich", online=False)])
    ended = [replace(summary(Status.FINISHED, "all"), id=f"old-{age}", ended_at=now - age) for age in (90_000, 60, 30)]
    both = [*ended, replace(summary(Status.RUNNING), id="now-1"), summary()]
    monkeypatch.setattr(Answers, "experiments", lambda _: both)
    told = fine(run("status")).splitlines()
    assert told[:4] == [
        "director at director:1: degraded, version 0.1",
        "problem: there is no room on the disk of /var/fx",
        "warning: the certificate of fx://h/user/alice ends on 2026-12-01 00:00 UTC: renew it",
        "",
    ]
    assert "envoys: 1 connected, 1 away" in told
    assert any(line.split()[:2] == ["zurich", "away"] for line in told)
    assert "experiments: 1 running, 1 queued, 2 ended within a day" in told
    assert [line.split()[0] for line in told[-4:]] == ["now-1", "digits-1", "old-30", "old-60"]
    found = data(run("status", "--json"))
    assert found["director"] == {
        "address": "director:1", "health": "degraded", "version": "0.1", "places": 1,
        "problems": ["there is no room on the disk of /var/fx"],
    }  # fmt: skip
    assert [item["id"] for item in found["experiments"]["ended"]] == ["old-30", "old-60"]
    assert [item["name"] for item in found["envoys"]["away"]] == ["zurich"]
    assert len(found["ends"]) == 1


def test_only_a_certificate_of_one_s_own_that_ends_soon_is_told_of(tmp_path: Path) -> None:
    federation = ThrowAwayFederation(tmp_path)
    fresh = federation.folder(federation.credentials(Role.USER, "alice"))
    assert own_warnings(fresh) == ()
    begin, week = datetime.now(UTC) - timedelta(days=100), timedelta(days=105)
    old = ThrowAwayFederation(tmp_path / "old", "hospitals", begin)
    (text,) = own_warnings(old.folder(old.credentials(Role.USER, "bob", lifetime=week, now=begin)))
    assert text.startswith("the certificate of fx://hospitals/user/bob ends on ")


def test_the_table_of_envoys(run: Run) -> None:
    output = fine(run("envoy", "list"))
    title, head, row = output.splitlines()
    assert (title, head.split()[:2]) == ("envoys", ["envoy", "online"])
    assert re.split(r"  +", row) == ["bern", "yes", "train 5", "12%", "25%", "digits-1"]


def test_one_envoy_is_shown_line_by_line(run: Run) -> None:
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in fine(run("envoy", "show", "bern")).splitlines())
    assert (lines["envoy"], lines["memory"], lines["running"]) == ("bern", "1.0 of 4.0 GiB", "digits-1")


def test_installed_templates_as_json(run: Run) -> None:
    names = {row["template"] for row in data(run("workspace", "templates", "--json"))}
    assert "torch_digits" in names


def test_metrics_have_a_column_each_and_a_row_for_each_round_or_site(run: Run) -> None:
    assert fine(run("experiment", "metrics", "digits-1")).splitlines() == [
        "metrics", "round  accuracy  loss", "1      0.5000", "2                inf",
    ]  # fmt: skip
    assert fine(run("experiment", "metrics", "digits-1", "--per-site")).splitlines() == [
        "metrics",
        "round  site    train loss  validate loss",
        "1      bern    0.2500      0.3333",
        "1      zurich  1.000",
    ]


def test_metrics_for_spreadsheets_are_a_value_a_line_with_all_digits(run: Run) -> None:
    assert fine(run("experiment", "metrics", "digits-1", "--per-site", "--csv")).splitlines() == [
        "round,site,task,metric,value,samples",
        "1,bern,train,loss,0.25,10",
        f"1,bern,validate,loss,{1 / 3!r},4",
        "1,zurich,train,loss,1.0,7",
    ]
    error = failed(run("experiment", "metrics", "digits-1", "--csv", "--json"))
    assert str(error) == "--csv and --json exclude each other (leave one of them out)"
