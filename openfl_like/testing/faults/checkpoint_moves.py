"""An experiment that moves between two Directors without processes, and an import that is broken in the middle of it.

As a program it takes a checkpoint in, at the state below a directory, as a Director would that was just started;
with ``--remove`` it removes the experiment of a state.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from openfl_like import failpoints
from openfl_like.federation.announcements import Announced, ExperimentEnded, ExperimentQueued, RoundFinished, only
from openfl_like.federation.events import CancelRequested
from openfl_like.federation.parties import ExperimentSummary, Outcome
from openfl_like.federation.ports import CheckpointOffer
from openfl_like.federation.status import Status
from openfl_like.pki.files import Credentials, load_credentials, save_credentials
from openfl_like.pki.roles import Role
from openfl_like.pki.signing import sign_bundle
from openfl_like.plan.bundles.bundle import pack, unpack
from openfl_like.plan.digest import freeze, plan_digest
from openfl_like.plan.schema import Plan
from openfl_like.processes.child import clean_environment
from openfl_like.runtimes.local import LocalRuntime
from openfl_like.runtimes.loop import ExperimentLoop
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.recorder import Record
from openfl_like.services.aggregator.opening import open_experiment
from openfl_like.services.director.checkpoints import Checkpoints
from openfl_like.services.director.disk_space import DiskSpace
from openfl_like.services.director.recovery import remove_leftovers
from openfl_like.services.director.removal import Removals
from openfl_like.services.director.settings import DirectorFile
from openfl_like.store.checkpoint import read_checkpoint
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import DirectorStore, StoredExperiment, Stores
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tensors.manifest import file_digest, manifest_of
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.clock import FakeClock
from openfl_like.testing.faults.evidence import gather
from openfl_like.testing.faults.invariants import Expected, check
from openfl_like.testing.performers import FakePerformer

EXPERIMENT = "moving-0123abcd"
REQUEST = "00ff00ff"
MOST_TRIES = 3
PLAN = Plan.model_validate(
    {
        "name": "moving",
        "aggregator": {"settings": {"rounds_to_train": 5}},
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
        "server_optimizer": {"template": "fedavgm"},
    }
)


async def run_rounds(directory: Path, cancel_after: int = -1) -> Outcome:
    """Run the experiment of a directory with two sites, to its end or until it is cancelled after a round."""

    def told(events: Sequence[Announced]) -> None:
        if any(finished.round == cancel_after for finished in only(events, RoundFinished)):
            loop.post(CancelRequested("ada"))

    files = ExperimentFiles(directory)
    sites = {"bern": FakePerformer(0.5, 1), "zurich": FakePerformer(0.25, 3)}
    repository = ModelRepository(PLAN, files)
    with closing(SQLITE.experiment(files)) as store:
        store.take_epoch()
        experiment = open_experiment(EXPERIMENT, PLAN, store, files, tuple(sites))
        loop = ExperimentLoop(
            experiment, LocalRuntime(sites, sites.__getitem__, repository), Record(store, repository, told), FakeClock()
        )
        return await loop.run()


@dataclass(frozen=True, slots=True)
class OfflineDirector:
    """A Director's state.

    Args:
        state: Its directory.
        director: Its credentials.
        user: Those of the user who asks.
        stores: Opens what it remembers, and the records of experiments.
    """

    state: Path
    director: Credentials
    user: Credentials
    stores: Stores = SQLITE

    @classmethod
    def founded(cls, directory: Path, name: str, user: str = "ada") -> "OfflineDirector":
        """Found a federation of this name with an empty state."""
        pki = ThrowAwayFederation(directory, name)
        DirectorFiles(directory / "state").incoming.mkdir(parents=True)
        return cls(directory / "state", pki.credentials(Role.DIRECTOR, "director"), pki.credentials(Role.USER, user))

    @property
    def files(self) -> ExperimentFiles:
        """The experiment's directory."""
        return DirectorFiles(self.state).experiment(EXPERIMENT)

    async def run(self, cancel_after: int = -1, *, start: bool = True) -> ExperimentSummary:
        """Have the experiment submitted and run, as `run_rounds` does, or cancelled before it was started."""
        self._furnish()
        outcome = Outcome(Status.CANCELLED, "cancelled by ada", cancelled_by="ada")
        if start:
            outcome = await run_rounds(self.files.directory, cancel_after)
        else:
            with closing(self.stores.experiment(self.files)) as store:
                store.announce(2.0, ExperimentEnded(outcome.status, outcome.reason, by=outcome.cancelled_by))
        name, digest = self.user.identity.name, file_digest(self.files.bundle)
        summary = ExperimentSummary(EXPERIMENT, PLAN.name, outcome.status, outcome.reason, name, 1.0)
        summary = replace(summary, ended_at=2.0, plan_digest=plan_digest(PLAN))
        stored = StoredExperiment(summary, digest, sign_bundle(digest, self.user), self.user.chain)
        with closing(self.stores.director(DirectorFiles(self.state))) as director:
            return director.add(REQUEST, stored)

    def _furnish(self) -> None:
        files = self.files
        code = files.directory / "code" / "src"
        code.mkdir(parents=True)
        (code / "model.py").write_text("RUNNER = 1\n", encoding="utf-8")
        files.prepare()
        pack(code.parent, PLAN, files.bundle)
        files.plan.write_bytes(freeze(unpack(files.bundle, files.directory / "workspace")))
        with closing(self.stores.experiment(files)) as store:
            store.announce(1.0, ExperimentQueued(self.user.identity.name))

    def gate(self, store: DirectorStore) -> Checkpoints:
        """Return what makes checkpoints of its experiments and take others in."""
        settings = DirectorFile(sample_shape=(1,), target_shape=(), state=self.state)
        return Checkpoints(settings, self.director, store, self.stores, DiskSpace(lambda: [self.state]))

    async def export(self, archive: Path) -> Path:
        """Write the checkpoint of the experiment."""
        with closing(self.stores.director(DirectorFiles(self.state))) as store:
            async with self.gate(store).exported(EXPERIMENT) as path:
                shutil.copyfile(path, archive)
        return archive

    async def take(self, archive: Path, request: str = REQUEST) -> ExperimentSummary:
        """Start on the state as a Director does, and take a checkpoint in that this user brings."""
        remove_leftovers(DirectorFiles(self.state), self._known(), self.stores)
        bundle = read_checkpoint(archive).bundle
        signature = sign_bundle(bundle, self.user)
        offer = CheckpointOffer(request, manifest_of(archive), bundle, signature, self.user.chain)
        with closing(self.stores.director(DirectorFiles(self.state))) as store:
            checkpoints = self.gate(store)
            landing = await checkpoints.expect_checkpoint(self.user.identity.uri, offer)
            if not landing.complete:
                shutil.copyfile(archive, landing.path)
            return await checkpoints.take_checkpoint(self.user.identity.name, offer)

    def _known(self) -> set[str]:
        with closing(self.stores.director(DirectorFiles(self.state))) as store:
            return {summary.id for summary in store.experiments()}


def attempt(place: Path, switch: str) -> tuple[bool, list[str]]:
    """Export, and import with a failpoint armed, again and again as a patient user would.

    Returns:
        Whether the point acted, and what is wrong in the end.
    """
    there = OfflineDirector.founded(place / "there", "there")
    asyncio.run(_leave(place))
    landed = place / "landed"
    environment = clean_environment({failpoints.SWITCH: switch, failpoints.LANDED: str(landed)})
    command = [sys.executable, "-m", "openfl_like.testing.faults.checkpoint_moves", str(place)]
    for folder, credentials in (("director", there.director), ("user", there.user)):
        save_credentials(place / folder, credentials)
    codes: list[int] = []
    while 0 not in codes and len(codes) < MOST_TRIES:
        codes.append(subprocess.run(command, env=environment, timeout=60, check=False).returncode)
    refused = [] if 0 in codes else [f"it could not be imported: {codes}"]
    return landed.exists(), [*refused, *problems(there)]


async def _leave(place: Path) -> None:
    here = OfflineDirector.founded(place / "here", "here")
    await here.run(cancel_after=2)
    await here.export(place / "checkpoint.tar")


def problems(there: OfflineDirector) -> list[str]:
    """Say what is wrong with an experiment that was imported after two rounds, at a Director that has no other."""
    evidence = gather(there.state, there.state / "no-history")
    found = [f"{name} belongs to nobody" for name in evidence.strangers]
    found += [f"{path.name} is left" for path in DirectorFiles(there.state).incoming.iterdir()]
    if [item.id for item in evidence.experiments] != [EXPERIMENT]:
        return [*found, f"there are {[item.id for item in evidence.experiments]}"]
    found += [str(breach) for breach in check(evidence, Expected(all_finish=False)) if breach.letter in {"A2", "A3"}]
    (item,) = evidence.experiments
    found += [] if [version.round for version in item.versions] == [0, 1, 2] else ["its rounds are not those"]
    return found


def attempt_removal(place: Path, switch: str) -> tuple[bool, list[str]]:
    """Remove an experiment with a failpoint armed, again and again as a patient user would.

    Returns:
        Whether the point acted, and what is wrong in the end.
    """
    here = OfflineDirector.founded(place / "here", "here")
    asyncio.run(here.run(cancel_after=1))
    landed = place / "landed"
    environment = clean_environment({failpoints.SWITCH: switch, failpoints.LANDED: str(landed)})
    command = [sys.executable, "-m", "openfl_like.testing.faults.checkpoint_moves", "--remove", str(here.state)]
    codes: list[int] = []
    while 0 not in codes and len(codes) < MOST_TRIES:
        codes.append(subprocess.run(command, env=environment, timeout=60, check=False).returncode)
    refused = [] if 0 in codes else [f"it could not be removed: {codes}"]
    return landed.exists(), [*refused, *remains_of_removed(here.state)]


def remains_of_removed(state: Path) -> list[str]:
    """Say what is left of the only experiment of a Director, which was removed."""
    files = DirectorFiles(state)
    with closing(SQLITE.director(files)) as store:
        store.verify()
        found = [f"{item.id} is still known" for item in store.experiments()]
    folders = [*files.experiments.iterdir(), *files.incoming.iterdir()]
    return [*found, *(f"{path.name} is left" for path in folders)]


def remove(state: Path) -> None:
    """Start on the state as a Director does, and remove the experiment unless it has gone."""
    files = DirectorFiles(state)
    with closing(SQLITE.director(files)) as store:
        known = {item.id for item in store.experiments()}
        remove_leftovers(files, known, SQLITE)
        if EXPERIMENT in known:
            settings = DirectorFile(sample_shape=(1,), target_shape=(), state=state)
            asyncio.run(_removed(Removals(settings, store, SQLITE, lambda _: None)))


async def _removed(removals: Removals) -> None:
    await removals.remove("ada", EXPERIMENT)
    await removals.settle()


def main(place: Path) -> None:
    """Take the checkpoint in."""
    there = OfflineDirector(
        place / "there" / "state", load_credentials(place / "director"), load_credentials(place / "user")
    )
    asyncio.run(there.take(place / "checkpoint.tar"))
    asyncio.run(there.export(place / f"again-{os.getpid()}.tar"))


if __name__ == "__main__":
    (remove if "--remove" in sys.argv else main)(Path(sys.argv[-1]))
