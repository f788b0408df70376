"""``fx demo --chaos``: one plan twice in one federation, the second time with those killed who run it, in mid-round."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.experiment.outcome import raise_unless_finished
from openfl_like.cli.experiment.progress import Screen
from openfl_like.cli.output.console import emit_line, say
from openfl_like.errors import ExperimentFailedError, InternalError, UsageError
from openfl_like.federation.announcements import (
    AggregatorLost,
    Announced,
    Announcement,
    AssignmentSent,
    CollaboratorAdmitted,
    ExperimentEnded,
    RoundStarted,
    UpdateReceived,
)

if TYPE_CHECKING:
    from openfl_like.federation.parties import ExperimentSummary
    from openfl_like.plan.schema import Plan
    from openfl_like.services.local_federation import LocalFederation
    from openfl_like.store.files import ExperimentFiles
    from openfl_like.wire.experiments import ExperimentsClient

DIE_S = 10.0
History = Callable[[int], "list[Announced]"]


@dataclass(frozen=True, slots=True)
class Blow:
    """Who is killed, and when.

    Attributes:
        victim: ``Director`` or ``Aggregator``.
        round: It falls as soon as this round, or a later one, is known to be under way.
        kill: Kills it and gives its process number; 0 if it was not there any more.
        restart: Starts it again and gives its process number; None where the platform itself does that.
    """

    victim: str
    round: int
    kill: Callable[[], Awaitable[int]]
    restart: Callable[[], Awaitable[int]] | None = None


class Story:
    """The history of an experiment whose processes are killed, as its watcher is told it: no gap, nothing twice.

    Args:
        screen: Where it is shown.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.last = 0
        self.round = 0
        self.ended = False
        self._phase = ""
        self._asked: set[str] = set()
        self._delivered: set[str] = set()
        self._sites: set[str] = set()
        self._away: set[str] = set()
        self._struck = 0

    @property
    def in_mid_round(self) -> bool:
        """Whether every site is there and a part of the open round's work is done."""
        return bool(self._delivered) and not (self._away or self.ended)

    @property
    def standing(self) -> str:
        """How far the open round is."""
        count = f"{len(self._delivered)} of {len(self._asked)} sites have delivered"
        return f"round {self.round} is under way, {count if self._delivered else 'no site has delivered yet'}"

    @property
    def facts(self) -> dict[str, object]:
        """How far the open round is, for programs."""
        return {"round": self.round, "phase": self._phase, "delivered": sorted(self._delivered)}

    def event(self, event: "Announced") -> None:
        """Show the next event; one that was shown already is left out.

        Raises:
            InternalError: If events are missing before it.
        """
        if event.sequence <= self.last:
            return
        if event.sequence > self.last + 1:
            raise InternalError(f"the history has a gap: event {event.sequence} came after event {self.last}")
        self.last = event.sequence
        self._screen.event(event)
        self._follow(event.announcement)

    def struck(self, blow: Blow, pid: int) -> None:
        """Tell that somebody was killed: from now on the sites are away."""
        self._away, self._struck = set(self._sites), self.round
        text = f"{self.standing}: the {blow.victim} is killed (kill -9, process {pid})"
        self._screen.note("killed", text, {"process": blow.victim, "pid": pid, **self.facts})

    def restarted(self, blow: Blow, pid: int) -> None:
        """Tell that it is there again."""
        text = f"the {blow.victim} is started again on the same state (process {pid})"
        self._screen.note("restarted", text, {"process": blow.victim, "pid": pid})

    def _follow(self, told: Announcement) -> None:
        match told:
            case RoundStarted(number):
                self._open(number, "")
            case AssignmentSent(number, phase, name):
                if (number, phase) != (self.round, self._phase):
                    self._open(number, phase)
                self._asked.add(name)
            case UpdateReceived(collaborator=name):
                self._delivered.add(name)
            case CollaboratorAdmitted(name):
                self._join(name)
            case ExperimentEnded():
                self.ended = True
            case _:
                pass

    def _open(self, number: int, phase: str) -> None:
        self.round, self._phase = number, phase
        self._asked.clear()
        self._delivered.clear()

    def _join(self, site: str) -> None:
        self._sites.add(site)
        if self._away and not (self._away - {site}):
            done = f"round {self._struck} is done and " if self._struck != self.round else ""
            text = f"the sites are back, {done}round {self.round} goes on"
            self._screen.note("back", text, {"round": self.round, "sites": sorted(self._sites)})
        self._away.discard(site)


async def disturb(
    items: "AsyncIterator[ExperimentSummary | Announced]", story: Story, blows: Sequence[Blow], history: History
) -> "tuple[ExperimentSummary | None, list[str]]":
    """Follow an experiment and deal the blows; return its last summary and what was done to it.

    Args:
        items: What a watcher of the experiment gets.
        story: Shows it.
        blows: In the order of their rounds.
        history: Gives what was committed after an event, with nobody between us and the record.
    """
    ahead, dealt, last = list(blows), list[str](), None
    async for item in items:
        if not isinstance(item, Announced):
            last = item
            continue
        story.event(item)
        if ahead and story.in_mid_round and story.round >= ahead[0].round:
            blow = ahead.pop(0)
            if await _deal(blow, story, history):
                dealt.append(f"the {blow.victim} was killed in round {story.round}")
    return last, dealt


async def _deal(blow: Blow, story: Story, history: History) -> bool:
    pid = await blow.kill()
    for event in await asyncio.to_thread(history, story.last):  # a watcher is told a little later: what was it really?
        if isinstance(event.announcement, AggregatorLost):
            break
        story.event(event)
    landed = bool(pid) and not story.ended
    if landed:
        story.struck(blow, pid)
    if blow.restart is not None:
        number = await blow.restart()
        if landed:
            story.restarted(blow, number)
    return landed


async def run_chaos(
    federation: "LocalFederation", plan: "Plan", path: Path, overrides: tuple[str, ...], *, as_json: bool
) -> None:
    """Run the plan undisturbed, then disturbed, and compare the bytes of both models.

    Raises:
        ExperimentFailedError: If they differ.
        UsageError: If the plan is so short that nobody could be killed.
    """
    from openfl_like.api.reconnect import watch
    from openfl_like.pki.files import load_credentials
    from openfl_like.store.director_files import DirectorFiles
    from openfl_like.wire.client import director_peer
    from openfl_like.wire.experiments import ExperimentsClient

    rounds = plan.aggregator.settings.rounds
    if rounds is None:
        cure = "give it a number: -s aggregator.settings.rounds_to_train=10"
        raise UsageError("the plan has no limit of rounds, and this demonstration runs to the end", cure=cure)
    screen = Screen(as_json=as_json)
    async with ExperimentsClient(
        director_peer(federation.director, load_credentials(federation.user_certificates))
    ) as client:
        say(f"first run, undisturbed and untold: {rounds} rounds with seed {plan.seed}")
        experiment = await submit(federation, path, overrides)
        last = None
        async for item in watch(client.watch, experiment):
            last = item
        undisturbed = await _sha256(client, finished(last), federation.directory / "undisturbed.safetensors")
        screen.note("undisturbed", f"its last model has the SHA-256 {undisturbed}", {"sha256": undisturbed})

        say("second run, the same plan with the same seed; watch what happens to it")
        experiment = await submit(federation, path, overrides)
        story, history = Story(screen), _history(DirectorFiles(federation.state).experiment(experiment))
        items = watch(client.watch, experiment)
        ended, dealt = await disturb(items, story, _blows(federation, rounds), history)
        disturbed = await _sha256(client, finished(ended), federation.directory / "disturbed.safetensors")
    verdict(undisturbed, disturbed, dealt, as_json=as_json)


def verdict(undisturbed: str, disturbed: str, dealt: Sequence[str], *, as_json: bool) -> None:
    """Print both digests side by side, and what that means.

    Raises:
        ExperimentFailedError: If they differ.
        UsageError: If nothing was done to the second run.
    """
    if not dealt:
        raise UsageError(
            "the second run was over before anybody could be killed",
            cure="give it more rounds: -s aggregator.settings.rounds_to_train=30",
        )
    same = undisturbed == disturbed
    if as_json:
        fields = {"undisturbed": undisturbed, "disturbed": disturbed, "same": same, "done": list(dealt)}
        emit_line({"kind": "verdict", **fields})
    else:
        click.echo("\nSHA-256 of the last model")
        click.echo(f"undisturbed  {undisturbed}")
        click.echo(f"disturbed    {disturbed}")
    if not same:
        raise ExperimentFailedError(
            "the disturbed run has made another model than the undisturbed one",
            cure="that is a defect: please report it with the logs",
        )
    if not as_json:
        click.echo(f"the same, bit by bit, although {' and '.join(dealt)}")


def finished(item: object) -> "ExperimentSummary":
    """Return the last thing that a watcher was told, which is the summary; raises what its end means."""
    from openfl_like.federation.parties import ExperimentSummary

    if not isinstance(item, ExperimentSummary):
        raise InternalError("the director did not tell how the experiment ended")
    raise_unless_finished(item)
    return item


async def submit(federation: "LocalFederation", path: Path, overrides: tuple[str, ...]) -> str:
    """Submit a plan as the federation's user and return the experiment's id."""
    from openfl_like.api.federation import Federation

    def work() -> str:
        with Federation(federation.director, federation.user_certificates) as client:
            return client.submit(path, overrides).id

    return await asyncio.to_thread(work)


async def _sha256(client: "ExperimentsClient", ended: "ExperimentSummary", path: Path) -> str:
    from openfl_like.tensors.manifest import sha256_file

    await client.model(ended.id, "last", path)
    return await asyncio.to_thread(sha256_file, path)


def _blows(federation: "LocalFederation", rounds: int) -> list[Blow]:
    import psutil

    async def director() -> int:
        return await federation.kill("director")

    async def again() -> int:
        await federation.start_director()
        return federation.children["director"].process.pid

    async def aggregator() -> int:
        for process in await asyncio.to_thread(federation.processes, "aggregator"):
            with suppress(psutil.Error):
                process.kill()
                await asyncio.to_thread(process.wait, DIE_S)
                return process.pid
        return 0

    first = max(1, rounds // 3)
    return [Blow("Director", first, director, again), Blow("Aggregator", 2 * first, aggregator)]


def _history(files: "ExperimentFiles") -> History:
    from openfl_like.store.sqlite.stores import SQLITE

    def read(after: int) -> "list[Announced]":
        with closing(SQLITE.experiment(files)) as store:
            return store.events(after)

    return read
