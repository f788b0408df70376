"""Workers that misbehave at random: ``python -m openfl_like.testing.misbehaviour --seed 1 --runs 200``.

In each run the seed decides what the training of two sites does in each of two rounds: it raises, exits, is killed,
answers junk, floods or closes its streams, leaves children, hangs. The same run is a simulation and an experiment of a
federation. Each has to end within its limit: with its model if nothing harmful was done, else FAILED or DEGRADED with a
cause that names a site that did it, the round and the task. Words go to stderr, one JSON line to stdout. Exit code 1:
something else came of a run.
"""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.api.client import AsyncFederation, connect
from openfl_like.api.explanation import explanation_of
from openfl_like.authoring.baselines import load_shards
from openfl_like.federation.history.cause import Cause, Condition, Why, explain
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.status import Status
from openfl_like.pki.files import load_credentials
from openfl_like.plan.load import load_plan
from openfl_like.services.local_federation import LocalFederation
from openfl_like.services.simulation import Simulation, SimulationSettings
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.testing.faults.chaos import say
from openfl_like.testing.faults.toy_workload import SAMPLE_SHAPE, TARGET_SHAPE, write_workspace
from openfl_like.testing.misbehaviour.workload import ACTS, WITHOUT_STREAMS, Harm

SITES = {"site-1": 1.0, "site-2": -2.0}
ROUNDS = 2
TRAIN_S = 3
QUIET = 0.5
"""How often a site does nothing odd in a round."""
END_S = 90.0
"""Within so many seconds a run has to end: two rounds whose deadlines pass, and workers that are started anew."""


@dataclass(frozen=True, slots=True)
class Interleaving:
    """What is done in a run.

    Attributes:
        acts: Site and round -> name of an act.
        quorum: Whether a round may be made without a site.
    """

    acts: Mapping[tuple[str, int], str]
    quorum: bool

    def of(self, number: int, *harms: Harm) -> set[str]:
        """The sites that do something of such harm in a round."""
        return {site for site, when in self.acts if when == number and self._harm(site, when) in harms}

    def _harm(self, site: str, number: int) -> Harm:
        """What has to come of an act at a site that may have no streams any more."""
        harm, _ = ACTS[self.acts[site, number]]
        before = {self.acts.get((site, earlier)) for earlier in range(1, number)}
        return Harm.EITHER if harm is Harm.NONE and before & WITHOUT_STREAMS else harm

    @property
    def overrides(self) -> tuple[str, ...]:
        """The plan's."""
        acts: dict[str, dict[str, str]] = {}
        for (site, number), name in self.acts.items():
            acts.setdefault(f"{SITES[site]:g}", {})[str(number)] = name
        runner = "openfl_like.testing.misbehaviour.workload:MisbehavingRunner"
        policy = ("participation.policy=quorum", "participation.min_updates=1") if self.quorum else ()
        return (
            f"task_runner.template={runner}",
            f"task_runner.settings={json.dumps({'acts': acts})}",
            f"aggregator.settings.rounds_to_train={ROUNDS}",
            f"deadline.train_s={TRAIN_S}",
            "deadline.grace_s=1",
            *policy,
        )

    def __str__(self) -> str:
        told = [f"{site} {name} in round {number}" for (site, number), name in sorted(self.acts.items())]
        return f"{'quorum' if self.quorum else 'exact'}: {'; '.join(told) or 'nothing'}"


def interleavings(seed: int, runs: int) -> Iterator[Interleaving]:
    """Yield what a seed means: every act comes about equally often."""
    draw = random.Random(seed)  # noqa: S311 (whoever has the seed must get the same)
    names: list[str] = []
    for _ in range(runs):
        acts: dict[tuple[str, int], str] = {}
        for place in ((site, number) for number in range(1, ROUNDS + 1) for site in SITES):
            if draw.random() >= QUIET:
                names = names or draw.sample(sorted(ACTS), len(ACTS))
                acts[place] = names.pop()
        yield Interleaving(acts, draw.random() < QUIET)


def wrong(run: Interleaving, status: Status, why: Why) -> str:
    """Say what should not have come of a run; empty if all is well."""
    rounds = range(1, ROUNDS + 1)
    enough = len(SITES) if run.quorum else 1
    stops = any(len(run.of(number, Harm.FAILS)) >= enough for number in rounds)
    if stops and status is not Status.FAILED:
        return f"it is {status.value} although the round cannot be made"
    if why.cause is None:
        harmed = any(run.of(number, Harm.FAILS) for number in rounds)
        return "no cause is told" if harmed or status is not Status.FINISHED else ""
    return _wrong_cause(run, why.cause, enough if status is Status.FAILED else 1)


def _wrong_cause(run: Interleaving, cause: Cause, enough: int) -> str:
    """Say what is wrong with a cause.

    Args:
        run: What was done.
        cause: What is told.
        enough: How many sites had to do something harmful in the round from which the end followed.
    """
    if cause.round is None or cause.site not in run.of(cause.round, Harm.FAILS, Harm.EITHER):
        return f"the cause is said to be at {cause.place}, where nothing harmful was done: {cause}"
    if any(len(run.of(number, Harm.FAILS)) >= enough for number in range(1, cause.round)):
        return f"the cause is said to be in round {cause.round}, which was not the first"
    if cause.phase != "train" or not (cause.error or cause.message):
        return f"the cause is told as '{cause}'"
    return ""


@dataclass(frozen=True, slots=True)
class Trials:
    """Runs interleavings.

    Args:
        place: An empty directory.
        plan: The workload's plan.
        shards: Site -> its shard.yaml.
    """

    place: Path
    plan: Path
    shards: Mapping[str, Path]

    async def simulate(self, number: int, run: Interleaving) -> str:
        """Run one as a simulation with worker processes; return what is wrong."""
        record = self.place / f"record-{number}"
        settings = SimulationSettings(
            load_plan(self.plan, run.overrides), self.plan.parent, load_shards(self.shards), record,
            files=self.shards, runtime="process",
        )  # fmt: skip
        with Simulation(settings, SQLITE) as simulation:
            async with asyncio.timeout(END_S):
                result = await simulation.run()
        with closing(SQLITE.experiment(ExperimentFiles(record))) as store:
            events = list(store.events())
        end = result.outcome
        summary = ExperimentSummary(
            "simulation", "simulation", end.status, end.reason, "", 0.0,
            degraded=end.degraded, shortfalls=end.shortfalls, failure=end.failure,
        )  # fmt: skip
        shutil.rmtree(record)
        return wrong(run, end.status, explain(summary, events))

    async def federate(self, federation: AsyncFederation, run: Interleaving) -> str:
        """Run one in a federation; return what is wrong."""
        queued = await federation.experiments.submit(self.plan, run.overrides)
        async with asyncio.timeout(END_S):
            async for _ in federation.experiments.watch(queued.id):
                pass
        found = await explanation_of(federation, queued.id)
        if found.summary.status is Status.FAILED and found.why.verdict is not Condition.FAILED:
            return f"it is FAILED and told as {found.why.verdict}"
        return wrong(run, found.summary.status, found.why)


@dataclass(slots=True)
class Breaches:
    """Collects what should not have come of runs."""

    told: list[str] = field(default_factory=list)

    async def take(self, where: str, run: Interleaving, trying: Awaitable[str]) -> None:
        """Wait for what is wrong with a run, and note it."""
        try:
            found = await trying
        except TimeoutError:
            found = f"it did not end within {END_S:g} s"
        if found:
            self.told.append(f"{where}, {run}: {found}")
            say(self.told[-1])


async def try_all(place: Path, seed: int, runs: int) -> dict[str, object]:
    """Try what a seed means; return what is printed.

    Args:
        place: An empty directory.
        seed: Decides what is done.
        runs: How many runs, each of which is a simulation and an experiment.
    """
    begin = time.monotonic()
    plan, shards = write_workspace(place / "workspace", SITES)
    trials, breaches = Trials(place, plan, shards), Breaches()
    drawn = list(interleavings(seed, runs))

    async def simulations() -> None:
        for number, run in enumerate(drawn):
            await breaches.take(f"simulation {number}", run, trials.simulate(number, run))

    async def experiments() -> None:
        local = LocalFederation(place / "federation", shards, SAMPLE_SHAPE, TARGET_SHAPE)
        async with local, connect(local.director, load_credentials(local.user_certificates)) as federation:
            for number, run in enumerate(drawn):
                await breaches.take(f"experiment {number}", run, trials.federate(federation, run))

    await asyncio.gather(simulations(), experiments())
    acts = len({name for run in drawn for name in run.acts.values()})
    seconds = round(time.monotonic() - begin)
    return {"misbehaviour": seed, "runs": runs, "acts": acts, "breaches": len(breaches.told), "seconds": seconds}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m openfl_like.testing.misbehaviour",
        description="Workers that misbehave at random, in simulations and in a federation.",
    )
    parser.add_argument("--seed", type=int, default=1, help="decides what is done")
    parser.add_argument("--runs", type=int, default=200, help="how many runs")
    options = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(prefix="fx-misbehaviour-")).resolve()
    line = asyncio.run(try_all(place, options.seed, options.runs))
    if line["breaches"]:
        say(f"everything is kept in {place}")
    else:
        shutil.rmtree(place, ignore_errors=True)
    sys.stdout.write(json.dumps(line) + "\n")
    return 1 if line["breaches"] else 0
