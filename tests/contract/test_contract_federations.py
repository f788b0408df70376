"""What a user meets at a Director: the same over processes and mutual TLS, and over the fake one."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from openfl_like.api.client import AsyncFederation, connect
from openfl_like.errors import ConflictError, NotFoundError, UsageError
from openfl_like.federation.announcements import Announced, ExperimentWaiting, RoundFinished, only
from openfl_like.federation.history.cause import explain
from openfl_like.federation.parties import ExperimentSummary, LogQuery
from openfl_like.federation.ports import Submission
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.pki.files import load_credentials
from openfl_like.pki.roles import Role
from openfl_like.pki.signing import sign_bundle
from openfl_like.plan.bundles.bundle import pack
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.services.local_federation import LocalFederation
from openfl_like.tensors.container import TensorFile
from openfl_like.tensors.manifest import manifest_of
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.director import FakeDirector
from openfl_like.testing.performers import FakePerformer

OBEDIENT = Path(__file__).parent.parent / "assets" / "obedient"
PLAN = OBEDIENT / "plan.yaml"
FINE, BROKEN, ABSENT, USER = "site-1", "site-2", "site-9", "user"
ALONE = (f"admission.collaborators=[{FINE}]", "aggregator.settings.rounds_to_train=2")
WAITS = (f"admission.collaborators=[{ABSENT}]",)


async def _real(directory: Path, stack: AsyncExitStack) -> AsyncFederation:
    shards = {FINE: OBEDIENT / "shards" / "site-1.yaml", BROKEN: OBEDIENT / "shards" / "raising.yaml"}
    local = await stack.enter_async_context(LocalFederation(directory / "local", shards, (1,), ()))
    return await stack.enter_async_context(connect(local.director, load_credentials(local.user_certificates)))


async def _fake(directory: Path, stack: AsyncExitStack) -> AsyncFederation:
    sites = {FINE: FakePerformer(), BROKEN: FakePerformer(mistakes={(1, Phase.TRAIN): "the scanner is on fire"})}
    director = FakeDirector(directory / "director", sites)
    stack.callback(director.close)
    user = ThrowAwayFederation(directory).credentials(Role.USER, USER)
    return await stack.enter_async_context(director.connection("localhost:1", user))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.process)])
async def federation(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncFederation]:
    async with AsyncExitStack() as stack:
        yield await (_fake if request.param == "fake" else _real)(tmp_path, stack)


async def _watched(federation: AsyncFederation, experiment: str, after: int = 0) -> list[ExperimentSummary | Announced]:
    async with aclosing(federation.experiments.watch(experiment, after)) as items:
        return [item async for item in items]


async def test_an_experiment_from_its_submission_to_its_model(federation: AsyncFederation, tmp_path: Path) -> None:
    submitted = await federation.experiments.submit(PLAN, ALONE)
    assert (submitted.status, submitted.name, submitted.owner) == (Status.QUEUED, "obedient", USER)

    first, *middle, last = await _watched(federation, submitted.id)
    assert isinstance(first, ExperimentSummary)
    assert isinstance(last, ExperimentSummary)
    assert (first.id, last.id, last.status, last.degraded) == (submitted.id, submitted.id, Status.FINISHED, False)
    history = [item for item in middle if isinstance(item, Announced)]
    assert [item.sequence for item in history] == list(range(1, len(history) + 1))
    finished = only(history, RoundFinished)
    assert [(item.round, item.contributors) for item in finished] == [(0, (FINE,)), (1, (FINE,)), (2, (FINE,))]
    later = await _watched(federation, submitted.id, after=history[2].sequence)
    assert later[1:-1] == history[3:]

    record = await federation.experiments.get(submitted.id)
    assert [item.version.round for item in record.versions] == [0, 1, 2]
    assert record.summary == last == (await federation.experiments.list())[0]
    assert [item.round for item in await federation.experiments.rounds(submitted.id)] == [0, 1, 2]
    path = await federation.experiments.model(submitted.id, "last", tmp_path / "model")
    assert manifest_of(path).digest == record.versions[-1].version.digest
    with TensorFile(path) as model:
        assert list(model.names)
    with pytest.raises(NotFoundError):
        await federation.experiments.model(submitted.id, "7", tmp_path / "model")
    with pytest.raises(UsageError):
        assert [part async for part in federation.experiments.logs(submitted.id, LogQuery(role="porter"))]
    with pytest.raises(NotFoundError):
        assert [part async for part in federation.experiments.logs(submitted.id, LogQuery(ABSENT))]
    with pytest.raises(ConflictError):
        await federation.experiments.cancel(submitted.id)
    with pytest.raises(ConflictError):
        await federation.experiments.resume(submitted.id)

    assert (await federation.experiments.remove(submitted.id)).models == 3
    assert await federation.experiments.list() == []
    with pytest.raises(NotFoundError):
        await federation.experiments.get(submitted.id)


async def test_a_failure_names_the_site_that_failed(federation: AsyncFederation) -> None:
    submitted = await federation.experiments.submit(PLAN, [f"admission.collaborators=[{FINE}, {BROKEN}]"])
    *items, last = await _watched(federation, submitted.id)
    assert isinstance(last, ExperimentSummary)
    assert last.status is Status.FAILED
    assert last.failure is not None
    cause = explain(last, [item for item in items if isinstance(item, Announced)]).cause
    assert cause is not None
    assert (cause.site, cause.phase, cause.round) == (BROKEN, "train", 1)
    assert "the scanner is on fire" in cause.message


async def test_one_waits_for_its_sites_the_next_for_its_turn_and_both_can_be_ended_and_resumed(
    federation: AsyncFederation,
) -> None:
    waiting = await federation.experiments.submit(PLAN, WAITS)
    queued = await federation.experiments.submit(PLAN, ALONE)
    assert [item.id for item in await federation.experiments.list()] == [waiting.id, queued.id]
    ended = await federation.experiments.cancel(queued.id)
    assert (ended.status, ended.reason) == (Status.CANCELLED, f"cancelled by {USER}")
    assert (await federation.experiments.resume(queued.id)).resumed_by == USER
    async with aclosing(federation.experiments.watch(waiting.id)) as items:
        async for item in items:
            if isinstance(item, Announced) and isinstance(item.announcement, ExperimentWaiting):
                assert item.announcement.missing == (ABSENT,)
                break
    for open_one in (waiting.id, queued.id):
        with pytest.raises(ConflictError, match="only one that has ended can be removed"):
            await federation.experiments.remove(open_one)
    status = await federation.director.status()
    assert (status.queued, status.running, status.envoys) == (1, 1, 2)
    with pytest.raises(ConflictError):
        await federation.experiments.resume(queued.id)
    assert (await federation.experiments.cancel(waiting.id)).status is Status.CANCELLED
    last = (await _watched(federation, queued.id))[-1]
    assert isinstance(last, ExperimentSummary)
    assert last.status is Status.FINISHED


async def test_the_same_request_makes_one_experiment(federation: AsyncFederation, tmp_path: Path) -> None:
    plan, bundle = load_plan(PLAN, WAITS), tmp_path / "bundle.tar"
    pack(workspace_of(PLAN, plan), plan, bundle)
    manifest, user = manifest_of(bundle), federation.experiments.credentials
    submission = Submission("00ff00ff", manifest, sign_bundle(manifest.digest, user), user.chain)
    first = await federation.experiments.client.submit(submission, bundle)
    assert (await federation.experiments.client.submit(submission, bundle)).id == first.id
    assert [item.id for item in await federation.experiments.list()] == [first.id]
    await federation.experiments.cancel(first.id)


async def test_what_is_not_there_is_not_found(federation: AsyncFederation, tmp_path: Path) -> None:
    experiments = federation.experiments
    for asked in (experiments.get, experiments.cancel, experiments.resume, experiments.rounds):
        with pytest.raises(NotFoundError):
            await asked("ghost-00000000")
    with pytest.raises(NotFoundError):
        await experiments.model("ghost-00000000", "last", tmp_path / "model")
    with pytest.raises(NotFoundError):
        await _watched(federation, "ghost-00000000")
    with pytest.raises(NotFoundError):
        assert [lines async for lines in experiments.logs("ghost-00000000")]
    assert [envoy.name for envoy in await federation.envoys.envoys()] == [FINE, BROKEN]
    assert all(envoy.online for envoy in await federation.envoys.envoys())
    assert (await federation.envoys.envoy(FINE)).record.shard.sample_shape == (1,)
    with pytest.raises(NotFoundError) as caught:
        await federation.envoys.envoy(ABSENT)
    assert f"known: {FINE}, {BROKEN}" in str(caught.value)
