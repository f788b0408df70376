"""The blocking client: from a script, from a notebook, to its end and not to its end."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from openfl_like.api import reconnect as outage
from openfl_like.api.checkpoints import CheckpointFiles
from openfl_like.api.client import AsyncFederation
from openfl_like.api.dry_run import dry_run_of
from openfl_like.api.experiments import Experiments
from openfl_like.api.federation import Federation
from openfl_like.errors import (
    BundleError,
    CredentialError,
    FederationError,
    NotAllowedError,
    NotFoundError,
    PlanError,
    UnreachableError,
)
from openfl_like.federation.announcements import Announced, ExperimentBegun, ExperimentEnded
from openfl_like.federation.parties import (
    EnvoyDetail,
    EnvoyRecord,
    ExperimentRecord,
    ExperimentSummary,
    LogLines,
    LogQuery,
    RemovedExperiment,
    ServerInfo,
    ShardFacts,
)
from openfl_like.federation.ports import CheckpointOffer, Submission
from openfl_like.federation.status import Status
from openfl_like.pki.files import Credentials
from openfl_like.pki.roles import Role
from openfl_like.pki.signing import verify_submitter
from openfl_like.plan.bundles.bundle import unpack
from openfl_like.plan.bundles.packing import Packing
from openfl_like.plan.workspace import create_workspace
from openfl_like.services.director.settings import DirectorFile
from openfl_like.store.checkpoint import read_checkpoint
from openfl_like.tensors.manifest import manifest_of
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.faults.checkpoint_moves import OfflineDirector
from openfl_like.wire.director import DirectorClient
from openfl_like.wire.envoys import EnvoysClient
from openfl_like.wire.experiments import ExperimentsClient

SUMMARY = ExperimentSummary("digits-1", "digits", Status.QUEUED, "", "alice", 1.0)
HISTORY: list[ExperimentSummary | Announced] = [
    SUMMARY,
    Announced(1, 1.0, ExperimentBegun("digits-1")),
    Announced(2, 2.0, ExperimentEnded(Status.FINISHED)),
    replace(SUMMARY, status=Status.FINISHED),
]


class ScriptedClient:
    """A Director that answers with what a test has written down, and breaks when it is told to."""

    made: "list[ScriptedClient]"

    def __init__(self, address: str, credentials: Credentials) -> None:
        self.address = address
        self.credentials = credentials
        self.submissions: list[Submission] = []
        self.bundles: list[bytes] = []
        self.queries: list[LogQuery] = []
        self.offers: list[CheckpointOffer] = []
        self.workspace_parts = False
        self.closed = self.stream_closed = self.stored = False
        self.failures: list[FederationError] = []
        self.reached = True
        ScriptedClient.made.append(self)

    async def submit(self, submission: Submission, bundle: Path) -> ExperimentSummary:
        assert manifest_of(bundle) == submission.manifest
        self.submissions.append(submission)
        self.bundles.append(bundle.read_bytes())
        if self.failures:
            raise self.failures.pop(0)
        return SUMMARY

    async def server_info(self) -> ServerInfo:
        return ServerInfo("0.2.0", 1.0, (), self.workspace_parts)

    async def experiments(self) -> list[ExperimentSummary]:
        return [SUMMARY]

    async def experiment(self, experiment: str) -> ExperimentRecord:
        if experiment != SUMMARY.id:
            raise NotFoundError(f"there is no experiment '{experiment}'")
        return ExperimentRecord(SUMMARY, (), "{}")

    async def watch(
        self, _: str, after: int, *, stored: bool = False, progress: bool = False
    ) -> AsyncGenerator[ExperimentSummary | Announced]:
        del progress
        self.stored = stored
        try:
            for item in HISTORY:
                if isinstance(item, ExperimentSummary) or item.sequence > after:
                    yield item
        finally:
            self.stream_closed = True

    async def logs(self, experiment: str, query: LogQuery) -> AsyncGenerator[LogLines]:
        self.queries.append(query)
        known = query.after.get("bern", 0)
        yield LogLines(experiment, query.source or "bern", ("a", "b"), "worker", known + 4)
        if len(self.queries) < 3:
            raise UnreachableError("the director went away")
        yield LogLines(experiment, "", (), complete=True)

    async def cancel(self, _: str) -> ExperimentSummary:
        return SUMMARY

    async def resume(self, _: str) -> ExperimentSummary:
        return replace(SUMMARY, reason="resumed by alice")

    async def remove(self, experiment: str) -> RemovedExperiment:
        return RemovedExperiment(experiment, 5, 145_807)

    async def model(self, _: str, which: str, path: Path) -> None:
        path.write_text(which)

    async def envoys(self) -> list[EnvoyRecord]:
        return [EnvoyRecord("bern", online=True, last_seen=1.0, shard=ShardFacts((1,), ()))]

    async def envoy(self, name: str) -> EnvoyDetail:
        if name != "bern":
            raise NotFoundError(f"there is no envoy '{name}'", cure="known: bern")
        return EnvoyDetail(EnvoyRecord(name, online=True, last_seen=1.0, shard=ShardFacts((1,), ())))

    async def fetch_checkpoint(self, experiment: str, path: Path) -> None:
        path.write_text(experiment)

    async def deliver_checkpoint(self, offer: CheckpointOffer, archive: Path) -> ExperimentSummary:
        assert manifest_of(archive) == offer.manifest
        self.offers.append(offer)
        if len(self.offers) == 1:
            raise LOST
        return SUMMARY


@asynccontextmanager
async def connection(address: str, credentials: Credentials) -> AsyncIterator[AsyncFederation]:
    fake = ScriptedClient(address, credentials)
    experiments = cast("ExperimentsClient", fake)
    try:
        yield AsyncFederation(
            cast("DirectorClient", fake),
            cast("EnvoysClient", fake),
            Experiments(experiments, credentials, cast("DirectorClient", fake)),
            CheckpointFiles(experiments, credentials),
        )
    finally:
        fake.closed = True


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayFederation:
    return ThrowAwayFederation(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def certificates(pki: ThrowAwayFederation) -> Path:
    return pki.folder(pki.credentials(Role.USER, "alice"))


@pytest.fixture
def federation(certificates: Path) -> Iterator[Federation]:
    ScriptedClient.made = []
    with Federation("director:50050", certificates, connection) as found:
        yield found


def test_one_envoy_by_its_name(federation: Federation) -> None:
    assert federation.envoy("bern").record.online
    with pytest.raises(NotFoundError, match="known: bern"):
        federation.envoy("oslo")


def client() -> ScriptedClient:
    (found,) = ScriptedClient.made
    return found


def test_answers_are_plain_values(federation: Federation, tmp_path: Path) -> None:
    assert federation.experiments() == [SUMMARY]
    assert federation.experiment("digits-1").summary == SUMMARY
    assert federation.cancel("digits-1") == SUMMARY
    assert federation.resume("digits-1").reason == "resumed by alice"
    assert federation.remove("digits-1") == RemovedExperiment("digits-1", 5, 145_807)
    assert [envoy.name for envoy in federation.envoys()] == ["bern"]
    path = federation.model("digits-1", "best", str(tmp_path / "model"))
    assert path.read_text() == "best"
    assert client().address == "director:50050"
    assert client().credentials.identity.name == "alice"


def test_errors_come_as_they_are(federation: Federation) -> None:
    with pytest.raises(NotFoundError, match="no experiment 'ghost'"):
        federation.experiment("ghost")
    assert federation.experiments() == [SUMMARY]


def test_a_director_is_asked_before_packing_whether_it_runs_parts_of_a_workspace(
    federation: Federation, tmp_path: Path
) -> None:
    packed: list[Packing] = []
    plan = create_workspace(tmp_path / "study", "numpy_parts") / "plan.yaml"
    with pytest.raises(PlanError, match="this Director runs none") as caught:
        federation.submit(plan, on_packed=packed.append)
    with pytest.raises(PlanError, match="this Director runs none"):
        federation.ask(lambda client: dry_run_of(client, plan, on_packed=packed.append))
    assert packed == []
    assert str(caught.value).count("referee: process") == 1
    assert caught.value.problems[0] == "selector.template: src.decisions:LeastAsked"
    assert len(caught.value.problems) == 6
    client().workspace_parts = True
    assert federation.submit(plan, on_packed=packed.append) == SUMMARY
    assert len(packed) == 1


def test_a_submission_is_packed_and_signed(federation: Federation, pki: ThrowAwayFederation, tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "study", "numpy_breast_cancer")
    for _ in range(2):
        assert federation.submit(workspace / "plan.yaml", ["seed=11"]) == SUMMARY
    first, second = client().submissions
    assert first.request_id != second.request_id
    assert first.manifest == second.manifest
    signer = verify_submitter(first.manifest.digest, first.signature, first.certificates, pki.trust)
    assert signer.name == "alice"
    bundle = tmp_path / "bundle.tar"
    bundle.write_bytes(client().bundles[0])
    assert unpack(bundle, tmp_path / "unpacked").seed == 11
    assert (tmp_path / "unpacked" / "src" / "breast_cancer.py").exists()


LOST = UnreachableError("the connection broke")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return create_workspace(tmp_path / "study", "numpy_breast_cancer") / "plan.yaml"


@pytest.mark.usefixtures("no_pauses")
def test_a_submission_whose_answer_is_lost_is_repeated_as_the_same_request(federation: Federation, study: Path) -> None:
    assert federation._client is not None
    client().failures = [LOST, LOST, LOST]
    assert federation.submit(study) == SUMMARY
    assert len(client().submissions) == 4
    assert len({submission.request_id for submission in client().submissions}) == 1
    assert federation.submit(study) == SUMMARY
    assert client().submissions[3].request_id != client().submissions[4].request_id


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("before", [0, 2])
def test_a_refusal_is_never_repeated(federation: Federation, study: Path, before: int) -> None:
    assert federation._client is not None
    client().failures = [*[LOST] * before, NotAllowedError("not you"), LOST]
    with pytest.raises(NotAllowedError, match="not you"):
        federation.submit(study)
    assert len(client().submissions) == before + 1


@pytest.mark.usefixtures("no_pauses")
def test_a_director_that_was_never_reached_is_told_at_once(federation: Federation, study: Path) -> None:
    assert federation._client is not None
    client().failures, client().reached = [LOST, LOST], False
    with pytest.raises(UnreachableError, match="the connection broke"):
        federation.submit(study)
    assert len(client().submissions) == 1


@pytest.mark.usefixtures("no_pauses")
async def test_a_lost_director_is_given_up_after_a_while() -> None:
    asked = []

    async def lost() -> None:
        asked.append(1)
        raise LOST

    with pytest.raises(UnreachableError):
        await outage.retry(lost, lambda: True, outage_s=-1.0)
    assert len(asked) == 1


@pytest.mark.usefixtures("no_pauses")
def test_a_checkpoint_is_fetched_and_delivered_signed_by_who_brings_it(
    federation: Federation, pki: ThrowAwayFederation, tmp_path: Path
) -> None:
    assert federation.checkpoints.fetch("digits-1", str(tmp_path / "out.tar")).read_text() == "digits-1"
    with pytest.raises(BundleError):
        federation.checkpoints.deliver(tmp_path / "out.tar")
    assert client().offers == []
    here = OfflineDirector.founded(tmp_path, "here", "bob")
    asyncio.run(here.run(cancel_after=1))
    archive = asyncio.run(here.export(tmp_path / "checkpoint.tar"))
    assert federation.checkpoints.deliver(archive) == SUMMARY
    lost, again = client().offers
    assert lost == again
    assert again.bundle == read_checkpoint(archive).bundle
    assert verify_submitter(again.bundle, again.signature, again.certificates, pki.trust).name == "alice"


def test_a_plan_with_mistakes_is_not_sent(federation: Federation, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("name: x\n")
    with pytest.raises(PlanError, match="tasks: this key is required"):
        federation.submit(tmp_path / "plan.yaml")
    assert client().submissions == []


def test_watching_ends_with_the_experiment(federation: Federation) -> None:
    assert list(federation.watch("digits-1")) == HISTORY
    assert [item for item in federation.watch("digits-1", after=1) if isinstance(item, Announced)] == [HISTORY[2]]


def test_who_stops_watching_closes_the_stream(federation: Federation) -> None:
    for item in federation.watch("digits-1"):
        assert item == SUMMARY
        break
    assert client().stream_closed


def test_the_rounds_are_those_that_there_are_by_now(federation: Federation) -> None:
    assert list(federation.rounds("digits-1")) == []
    assert client().stored


def test_an_error_in_a_stream_comes_after_what_was_sent(federation: Federation) -> None:
    stream = federation.logs("digits-1", "bern")
    assert next(stream).lines == ("a", "b")
    with pytest.raises(UnreachableError, match="went away"):
        next(stream)


class Absent:
    """A Director that goes away after some events, as often as it is told to."""

    def __init__(self, *stays: int) -> None:
        self.stays = [*stays]
        self.asked: list[int] = []

    async def watch(self, _: str, after: int) -> AsyncGenerator[ExperimentSummary | Announced]:
        self.asked.append(after)
        stay = self.stays.pop(0) if self.stays else len(HISTORY)
        for item in [one for one in HISTORY if isinstance(one, ExperimentSummary) or one.sequence > after][:stay]:
            yield item
        if self.stays:
            raise UnreachableError("the director went away")


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once() -> AsyncIterator[int]:
        for attempt in range(100):
            yield attempt

    monkeypatch.setattr(outage, "backoff", at_once)


@pytest.mark.usefixtures("no_pauses")
def test_logs_are_followed_from_where_they_were_when_the_director_was_away(federation: Federation) -> None:
    found = list(federation.logs("digits-1", role="worker", follow=True, after={"zurich": 7}))
    assert [lines.position for lines in found] == [4, 8, 12]
    assert [dict(query.after) for query in client().queries] == [
        {"zurich": 7}, {"zurich": 7, "bern": 4}, {"zurich": 7, "bern": 8},
    ]  # fmt: skip
    assert client().queries[0].role == "worker"


@pytest.mark.usefixtures("no_pauses")
async def test_watching_goes_on_after_the_last_event_when_the_director_comes_back() -> None:
    director = Absent(2, 0, 0, 2, 9)
    found = [item async for item in outage.watch(director.watch, "digits-1") if isinstance(item, Announced)]
    assert found == HISTORY[1:3]
    assert director.asked == [0, 1, 1, 1, 2]


@pytest.mark.usefixtures("no_pauses")
async def test_a_stream_that_ends_before_its_experiment_is_taken_up_again() -> None:
    director = Absent(2)
    assert [item async for item in outage.watch(director.watch, "digits-1")][-1] == HISTORY[-1]
    assert director.asked == [0, 1]


@pytest.mark.usefixtures("no_pauses")
async def test_a_director_that_was_never_there_is_not_waited_for() -> None:
    director = Absent(0, 9)
    with pytest.raises(UnreachableError):
        await anext(outage.watch(director.watch, "digits-1"))


@pytest.mark.usefixtures("no_pauses")
async def test_a_director_that_stays_away_is_given_up() -> None:
    with pytest.raises(UnreachableError) as caught:
        [item async for item in outage.watch(Absent(2, 0, 9).watch, "digits-1", outage_s=-1.0)]
    assert caught.value.cure == "fx experiment watch digits-1 goes on from here"


def test_an_experiment_is_watched_for_as_long_as_it_may_live() -> None:
    settings = DirectorFile(sample_shape=(1,), target_shape=())
    assert settings.certificate_hours * 3600 == outage.WATCH_S


async def test_it_works_inside_a_running_loop_as_in_a_notebook(federation: Federation) -> None:
    assert federation.experiments() == [SUMMARY]
    assert len(list(federation.watch("digits-1"))) == 4


def test_leaving_closes_the_connection_and_ends_the_thread(certificates: Path) -> None:
    ScriptedClient.made = []
    before = {*threading.enumerate()}
    with Federation("director:50050", certificates, connection) as federation:
        watching = federation.watch("digits-1")
        next(watching)
    assert client().closed
    assert client().stream_closed
    assert {*threading.enumerate()} <= before  # those of tests before this one may end
    federation.close()  # once more does nothing
    watching.close()  # type: ignore[attr-defined] # a generator, as a notebook drops it late


def test_without_a_call_nothing_is_connected(federation: Federation) -> None:
    assert ScriptedClient.made == []


def test_a_missing_certificate_is_told_before_anything_is_started(tmp_path: Path) -> None:
    before = {*threading.enumerate()}
    with pytest.raises(CredentialError):
        Federation("director:50050", tmp_path)
    assert {*threading.enumerate()} <= before  # those of tests before this one may end
