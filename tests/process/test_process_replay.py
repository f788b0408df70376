"""A site sends everything twice, too late and instead of others: the model stays the same, and all of it is counted."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from federations import PLAN

from openfl_like.errors import FederationError, RoundClosedError, UpdateRefusedError
from openfl_like.federation.announcements import Announced, UpdateSurplus, only
from openfl_like.federation.history.life import surplus_of
from openfl_like.federation.ports import Dismissal, Ready
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.pki.roles import Role
from openfl_like.plan.digest import plan_digest
from openfl_like.plan.load import load_plan
from openfl_like.services.aggregator.service import AggregatorArguments, run_aggregator
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tensors.container import write_tensors
from openfl_like.tensors.manifest import Manifest
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.wire.aggregator import AggregatorClient, CollaboratorSession

pytestmark = pytest.mark.process
ROUNDS = 4
TIMES = 25
EXPERIMENT = "obedient-1"
HONEST = ("bern", "geneva")
MISBEHAVING = "zurich"
SMALL, LARGE = 100, 150_000
METRICS = {"validate": {"loss": 1.0, "accuracy": 0.5}}


@dataclass
class Site:
    """A collaborator that is driven by hand; what it delivers depends on name, round and variant only."""

    name: str
    client: AggregatorClient
    directory: Path
    elements: int
    variants: dict[int, int] = field(default_factory=dict)

    def made(self, number: int, phase: Phase, variant: int = 0) -> tuple[Update, Path, Manifest]:
        """Makes the update of a round; every variant has another content."""
        path = self.directory / f"{self.name}-{number}-{phase}-{variant}"
        draw = np.random.default_rng([number, variant, *self.name.encode()])
        manifest = write_tensors(path, {"vector": draw.standard_normal(self.elements, np.float32)}, sync=False)
        return Update(number, phase, self.name, manifest.digest, 10, {"train": {"loss": 1.0}}), path, manifest

    async def take_part(self) -> None:
        """Works until it is dismissed; one assignment after the other, while receipts are read."""
        async with self.client, self.client.participate() as session:
            session.report(Ready(plan_digest(PLANNED)))
            waiting: asyncio.Queue[Assignment] = asyncio.Queue()
            working = asyncio.create_task(self._work(session, waiting))
            while (instruction := await session.instruction()) is not None:
                if isinstance(instruction, Dismissal):
                    break
                assert isinstance(instruction, Assignment)
                waiting.put_nowait(instruction)
            if working.done():
                working.result()
            working.cancel()

    async def _work(self, session: CollaboratorSession, waiting: asyncio.Queue[Assignment]) -> None:
        while True:
            assignment = await waiting.get()
            if assignment.phase is Phase.EVALUATE:
                await self.evaluate(session, assignment.round)
            else:
                await self.train(session, assignment.round, assignment.phase)

    async def evaluate(self, session: CollaboratorSession, number: int) -> None:
        """Reports an evaluation."""
        session.report(Update(number, Phase.EVALUATE, self.name, "", 5, METRICS))

    async def train(self, session: CollaboratorSession, number: int, phase: Phase) -> None:
        """Delivers one update."""
        update, path, _ = self.made(number, phase, self.variants.get(number, 0))
        await session.deliver(update, path)


@dataclass
class Flooding(Site):
    """Sends whatever cannot count, `TIMES` times each, before and after what can; notes the answers."""

    sent: Counter[tuple[int, str]] = field(default_factory=Counter)

    async def evaluate(self, session: CollaboratorSession, number: int) -> None:
        if number > 1:
            for _ in range(TIMES):
                await super().evaluate(session, number - 1)
                self.sent[number, "repeated"] += 1
        await super().evaluate(session, number)

    async def train(self, session: CollaboratorSession, number: int, phase: Phase) -> None:
        for former in range(1, number):
            last = former == number - 1
            await self.expect(number, "repeated" if last else "late", self.made(former, phase), last=last)
            if last:
                await self.expect(number, "conflicting", self.made(former, phase, 7))
        await self.expect(number, "unasked", self.made(number + 1, phase))
        genuine = self.made(number, phase)
        assert await self.race([genuine] * TIMES) == [None] * TIMES
        self.sent[number, "repeated"] += TIMES - 1
        await session.deliver(genuine[0], genuine[1])
        self.sent[number, "repeated"] += 1
        await self.expect(number, "conflicting", self.made(number, phase, 7))
        with pytest.raises(UpdateRefusedError, match="another update of 'zurich' was taken"):
            await session.deliver(*self.made(number, phase, 8)[:2])
        self.sent[number, "conflicting"] += 1

    async def expect(
        self, number: int, standing: str, made: tuple[Update, Path, Manifest], *, last: bool = False
    ) -> None:
        """Sends an update `TIMES` times at once and checks every answer."""
        answers = await self.race([made] * TIMES)
        refusal = UpdateRefusedError if standing == "conflicting" else RoundClosedError
        expected = type(None) if last else refusal
        assert {type(answer) for answer in answers} == {expected}, standing
        self.sent[number, standing] += TIMES

    async def race(self, offers: Iterable[tuple[Update, Path, Manifest]]) -> list[FederationError | None]:
        """Uploads all of these at the same time; gives what each was told, None for a receipt."""

        async def upload(made: tuple[Update, Path, Manifest]) -> FederationError | None:
            update, path, manifest = made
            try:
                await self.client.upload(update, path, manifest)
            except FederationError as error:
                return error
            return None

        return await asyncio.gather(*map(upload, offers))


@dataclass
class Torn(Flooding):
    """Sends different updates for the same place, all at once."""

    async def evaluate(self, session: CollaboratorSession, number: int) -> None:
        await Site.evaluate(self, session, number)

    async def train(self, session: CollaboratorSession, number: int, phase: Phase) -> None:
        del session  # it reads no receipts: all go as calls of their own
        answers = await self.race([self.made(number, phase, variant) for variant in range(TIMES)])
        (winner,) = (variant for variant, answer in enumerate(answers) if answer is None)
        assert {type(answer) for answer in answers} == {type(None), UpdateRefusedError}
        self.variants[number] = winner
        self.sent[number, "conflicting"] += TIMES - 1


PLANNED = load_plan(PLAN, (f"aggregator.settings.rounds_to_train={ROUNDS}",))


@dataclass(frozen=True)
class Ended:
    """What a run has left."""

    sha256: str
    events: list[Announced]

    def surplus(self) -> dict[tuple[int, str], int]:
        """(Round, standing) -> the highest count that was told."""
        told = only(self.events, UpdateSurplus)
        assert {update.collaborator for update in told} <= {MISBEHAVING}
        most: dict[tuple[int, str], int] = {}
        for update in told:
            key = update.round, update.standing.value
            most[key] = max(most.get(key, 0), update.count)
        assert len(told) <= 2 * len(most), "a flood must not fill the history"
        return most


@dataclass(frozen=True)
class Lab:
    """Runs one experiment with an Aggregator in this process and three sites over mTLS."""

    certificates: ThrowAwayFederation
    directory: Path
    elements: int

    async def run(self, name: str, kind: type[Site], variants: dict[int, int] | None = None) -> tuple[Ended, Site]:
        """Runs it to its end; ``kind`` is how the third site behaves."""
        place = self.directory / name
        credentials = self.certificates.credentials(Role.AGGREGATOR, EXPERIMENT)
        everybody = (*HONEST, MISBEHAVING)
        settings = AggregatorArguments(
            EXPERIMENT, PLANNED, PLAN.parent, place, "localhost:0", 0, credentials, expected=everybody
        )
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            ending = group.create_task(run_aggregator(settings, SQLITE, lambda address, _: ready.set_result(address)))
            address = await ready
            sites = [self._site(Site, one, address) for one in HONEST]
            third = replace(self._site(kind, MISBEHAVING, address), variants=variants or {})
            for site in (*sites, third):
                group.create_task(site.take_part())
        assert ending.result().status == "FINISHED", ending.result().reason
        with closing(SQLITE.experiment(ExperimentFiles(place))) as store:
            return Ended(store.versions()[-1].sha256, store.events()), third

    def _site(self, kind: type[Site], name: str, address: str) -> Site:
        credentials = self.certificates.credentials(Role.COLLABORATOR, name, EXPERIMENT)
        scratch = self.directory / "scratch"
        scratch.mkdir(exist_ok=True)
        return kind(name, AggregatorClient(address, EXPERIMENT, credentials), scratch, self.elements)


@pytest.fixture(params=[SMALL, LARGE], ids=["small", "large"])
def lab(request: pytest.FixtureRequest, certificates: ThrowAwayFederation, tmp_path: Path) -> Lab:
    return Lab(certificates, tmp_path, request.param)


async def test_what_comes_again_late_or_instead_changes_nothing_and_is_counted(lab: Lab) -> None:
    undisturbed, _ = await lab.run("undisturbed", Site)
    assert undisturbed.surplus() == {}
    disturbed, site = await lab.run("disturbed", Flooding)
    assert isinstance(site, Flooding)
    assert site.sent.total() > 500
    assert disturbed.sha256 == undisturbed.sha256
    assert disturbed.surplus() == dict(site.sent)
    kinds: Counter[str] = Counter()
    for (_, kind), count in site.sent.items():
        kinds[kind] += count
    assert surplus_of(disturbed.events) == {MISBEHAVING: dict(kinds)}
    assert list((lab.directory / "disturbed" / "spool").iterdir()) == []


async def test_of_different_updates_at_once_exactly_one_counts(lab: Lab) -> None:
    raced, site = await lab.run("raced", Torn)
    assert isinstance(site, Torn)
    assert raced.surplus() == dict(site.sent)
    quiet, _ = await lab.run("quiet", Site, site.variants)
    assert raced.sha256 == quiet.sha256
