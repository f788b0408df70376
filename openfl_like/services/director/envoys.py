"""The Director's roster: which envoys are there, and how to reach them."""

import asyncio
import contextlib
import difflib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from openfl_like.errors import ConflictError, NotFoundError, StorageError, UsageError
from openfl_like.failpoints import failpoint
from openfl_like.federation.devices.history import DeviceHistory
from openfl_like.federation.participation.admission import check_interface
from openfl_like.federation.parties import EnvoyDetail, EnvoyRecord, LogLines, Validity
from openfl_like.federation.ports import (
    CollaboratorEnded,
    EnvoyInstruction,
    EnvoyReport,
    Heartbeat,
    Hello,
    LeaveOrder,
    Order,
    OrderReply,
    StopOrder,
    Welcome,
)
from openfl_like.pki.lifetime import ValidityPeriod
from openfl_like.printable import printable_line
from openfl_like.runtimes.session import converse
from openfl_like.services.director.settings import MISSED_HEARTBEATS, DirectorFile
from openfl_like.store.ports import DirectorStore
from openfl_like.store.refusals import unknown_experiment
from openfl_like.tasks import first_of

log = logging.getLogger(__name__)
PROBE_S = 5.0
CLOSING_S = 2.0
"""How long sessions are waited for whose server has stopped."""
MOST_NAMES = 20  # that an answer lists
HEARTBEATS_PER_S = 50.0  # of all envoys together; each takes about half a millisecond, most of it gRPC's

Answer = OrderReply | CollaboratorEnded
OnAnswer = Callable[[str, Answer], Awaitable[None]]


@dataclass(slots=True)
class _Session:
    record: EnvoyRecord
    number: int
    certificate: Validity | None = None
    mailbox: asyncio.Queue[EnvoyInstruction] = field(default_factory=asyncio.Queue)
    working: set[str] = field(default_factory=set)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    superseded: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class EnvoyRoster:
    """Answers the envoys and holds their sessions.

    Args:
        settings: The data interfaces of which every shard must have one.
        store: Remembers envoys beyond their sessions.
        on_answer: Gets what envoys report about experiments.
        on_logs: Gets the lines they send.
        stop_order: Gives the order to stop an experiment that an envoy works for; None: it should go on.
        on_change: Told when an envoy has gone, or has done with an experiment.
        on_arrival: Told when an envoy has come, or has other data, or bears another number of experiments.
        falls: Whether a site's certificate was revoked that was issued under a revocation list of this number.
        now: Seconds since the epoch.
        probe_s: Seconds in which an envoy that is there answers another one of its name.
        most_names: That an answer lists.
        heartbeats_per_s: Of all envoys together.
    """

    settings: DirectorFile
    store: DirectorStore
    on_answer: OnAnswer
    on_logs: Callable[[LogLines], None]
    stop_order: Callable[[str], StopOrder | None] = lambda _: None
    on_change: Callable[[], None] = lambda: None
    on_arrival: Callable[[], None] = lambda: None
    falls: Callable[[str, int], bool] = lambda _name, _number: False
    now: Callable[[], float] = time.time
    probe_s: float = PROBE_S
    most_names: int = MOST_NAMES
    heartbeats_per_s: float = HEARTBEATS_PER_S
    _sessions: dict[str, _Session] = field(default_factory=dict)
    _trends: dict[str, DeviceHistory] = field(default_factory=dict)
    _asked: dict[str, set[str]] = field(default_factory=dict)
    _count: int = 0
    _period_s: float = field(init=False)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        self._period_s = self.settings.heartbeat_s

    async def attend(
        self,
        name: str,
        reports: AsyncIterator[EnvoyReport],
        send: Callable[[EnvoyInstruction], Awaitable[None]],
        certificate: Validity | None = None,
    ) -> None:
        """Hold an envoy's session.

        Raises:
            ShardMismatchError: If its shard has other shapes than the federation agreed on.
            ConflictError: If an envoy of this name is connected already, and answers.
        """
        hello = await anext(reports, None)
        if not isinstance(hello, Hello):
            raise UsageError("an envoy's session begins with 'hello'")
        for shard in (hello.shard, *hello.more_shards):
            check_interface(name, shard, self.settings.agreed)
        await self._make_room(name)
        self._count += 1
        now = self.now()
        record = EnvoyRecord(
            name, online=True, last_seen=now, shard=hello.shard, online_since=now, more_shards=hello.more_shards,
            version=hello.version, problem=hello.problem,
        )  # fmt: skip
        if certificate is not None:
            record = replace(record, certificate_ends=certificate.ends, certificate_list=certificate.list_number)
        session = _Session(record, self._count, certificate)
        self._sessions[name] = session
        try:  # from here on: an envoy that is lost while it is welcomed must be able to come back
            self._pace()
            await asyncio.to_thread(self._remember, session.record)
            await send(Welcome(self._period_s))
            log.info("envoy '%s' is here (version %s)", name, printable_line(hello.version))
            failpoint("director.roster.joined")
            await self.recount()
            self.on_arrival()
            await self._converse(name, session, reports, send)
        finally:
            del self._sessions[name]
            session.ended.set()
            log.info("envoy '%s' has gone", name)
            self._pace()
            failpoint("director.roster.left")
            self._remember(session.record)
            self.on_change()

    @contextlib.asynccontextmanager
    async def outlasting(self, said: LeaveOrder | None = None) -> AsyncIterator[None]:
        """Around what ends sessions: wait after it for all of them, until each is remembered.

        Args:
            said: The order that ends them; None: a server does, which has stopped.
        """
        try:
            yield
        finally:
            sessions = list(self._sessions.values())
            if said is not None and sessions:
                log.info("%d envoys are told to come back in %g s", len(sessions), said.retry_after_s)
                for session in sessions:
                    session.mailbox.put_nowait(said)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSING_S):
                    for session in sessions:
                        await session.ended.wait()

    def _remember(self, record: EnvoyRecord) -> None:
        try:
            self.store.record_envoy(record)
        except StorageError as error:  # of what is remembered of an envoy nothing depends
            log.warning("'%s' is not remembered: %s", record.name, error)

    async def bundle_file(self, caller: str, experiment: str) -> Path:
        """Return the workspace bundle of an experiment that this envoy was asked to take part in.

        Raises:
            NotFoundError: If there is none, or it was not asked; nothing tells which.
        """
        if not self.was_asked(caller, experiment):
            raise unknown_experiment(experiment)
        known = self.store.experiment(experiment).summary.id
        return self.settings.files.experiment(known).bundle

    def was_asked(self, name: str, experiment: str) -> bool:
        """Whether an envoy was sent the order to take part in an experiment since the Director was started."""
        return name in self._asked.get(experiment, ())

    def forget(self, experiment: str) -> None:
        """Forget who was asked to take part in an experiment that has gone: its id may come back as another's."""
        self._asked.pop(experiment, None)

    async def _converse(
        self,
        name: str,
        session: _Session,
        reports: AsyncIterator[EnvoyReport],
        send: Callable[[EnvoyInstruction], Awaitable[None]],
    ) -> None:
        listening = self._listen(name, session, reports)
        talking = converse(session.mailbox, listening, send, lambda said: isinstance(said, LeaveOrder))
        if "talking" not in await first_of(talking=talking, superseded=session.superseded.wait()):
            raise ConflictError(f"'{name}' has connected again; this session is over")

    async def _make_room(self, name: str) -> None:
        """End the former session of this name if nobody is there any more; raises ConflictError if somebody is."""
        while (former := self._sessions.get(name)) is not None:
            await self._supersede(name, former)

    async def _supersede(self, name: str, former: _Session) -> None:
        former.heard.clear()
        former.mailbox.put_nowait(Welcome(self._period_s))  # is answered by a heartbeat
        await first_of(self.probe_s, heard=former.heard.wait(), ended=former.ended.wait())
        if former.heard.is_set() and not former.ended.is_set():
            raise ConflictError(
                f"an envoy named '{name}' is already connected",
                cure="stop the other one; if there is none of yours, its key was copied",
            )
        former.superseded.set()
        await former.ended.wait()

    def online(self) -> tuple[str, ...]:
        """Names of the envoys that are there, sorted."""
        return tuple(sorted(self._sessions))

    def records(self) -> list[EnvoyRecord]:
        """The envoys that are there, as they are now."""
        return [session.record for session in self._sessions.values()]

    def warnings(self) -> tuple[str, ...]:
        """What is about to end of the certificates that envoys have shown, the next one first."""
        now = datetime.fromtimestamp(self.now(), UTC)
        shown = [(one.certificate, name) for name, one in self._sessions.items() if one.certificate is not None]
        told = []
        for certificate, name in sorted(shown, key=lambda item: (item[0].ends, item[1])):
            life = ValidityPeriod(
                datetime.fromtimestamp(certificate.begins, UTC), datetime.fromtimestamp(certificate.ends, UTC)
            )
            if life.days_to_warn(now) is not None:
                told.append(life.told(f"the certificate of envoy '{name}'", now, "renew it at the site"))
        more = len(told) - self.most_names
        return (*told[: self.most_names], *([f"the certificates of {more} more envoys end soon"] if more > 0 else []))

    def working(self, experiment: str) -> list[str]:
        """Names of the envoys that are there and have something to do for an experiment, or to tell of it."""
        return [name for name, session in self._sessions.items() if experiment in session.working]

    def send(self, name: str, instruction: EnvoyInstruction) -> None:
        """Put an instruction into an envoy's mailbox; one that has gone misses it."""
        if name in self._sessions:
            if isinstance(instruction, Order):
                self._sessions[name].working.add(instruction.experiment)
                self._asked.setdefault(instruction.experiment, set()).add(name)
            self._sessions[name].mailbox.put_nowait(instruction)

    async def until(self, enough: Callable[[tuple[str, ...]], bool], timeout_s: float) -> bool:
        """Wait until the envoys that are there are enough; False when the time passed."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: enough(self.online()))
        except TimeoutError:
            return False
        return True

    async def recount(self) -> None:
        """Have whoever waits for envoys look again at those that are there."""
        async with self._changed:
            self._changed.notify_all()

    async def arrivals(self, known: set[int]) -> dict[int, str]:
        """Wait for sessions beyond the known ones and return their numbers and names; a return is a new session."""

        def new() -> dict[int, str]:
            return {one.number: name for name, one in sorted(self._sessions.items()) if one.number not in known}

        async with self._changed:
            await self._changed.wait_for(lambda: bool(new()))
            return new()

    async def envoys(self) -> list[EnvoyRecord]:
        """Every envoy ever seen, those with a session as they are now."""
        stored = await asyncio.to_thread(self.store.envoys)
        live = {name: session.record for name, session in self._sessions.items()}
        known = [live.get(record.name, record) for record in stored]
        return [replace(one, revoked=self.falls(one.name, one.certificate_list)) for one in known]

    async def envoy(self, name: str) -> EnvoyDetail:
        """Return everything known of one envoy.

        Raises:
            NotFoundError: If there never was one of this name; the cure lists those that there were.
        """
        records = {record.name: record for record in await self.envoys()}
        if name not in records:
            raise NotFoundError(f"there is no envoy '{name}'", cure=_known(name, records, self.most_names))
        trend = self._trends.get(name)
        return EnvoyDetail(records[name], () if trend is None else trend.series())

    async def _listen(self, name: str, session: _Session, reports: AsyncIterator[EnvoyReport]) -> None:
        while True:
            patience_s = self._period_s * MISSED_HEARTBEATS
            try:
                async with asyncio.timeout(patience_s):
                    report = await anext(reports, None)
            except TimeoutError:
                raise ConflictError(f"no heartbeat came from '{name}' for {patience_s:g} s") from None
            if report is None:
                return
            session.record = replace(session.record, last_seen=self.now())
            session.heard.set()
            await self._take(name, session, report)

    async def _take(self, name: str, session: _Session, report: EnvoyReport) -> None:
        match report:
            case Heartbeat(devices, running, placed):
                session.record = replace(session.record, devices=devices, running=running, placed=placed)
                session.working.update(running)
                self._trends.setdefault(name, DeviceHistory()).add(self.now(), devices)
                for order in filter(None, map(self.stop_order, running)):
                    self.send(name, order)
            case Hello():
                await self._describe(name, session, report)
            case LogLines():
                self.on_logs(replace(report, source=name))
            case OrderReply() | CollaboratorEnded():
                if isinstance(report, CollaboratorEnded) or not report.accepted:
                    session.working.discard(report.experiment)
                    self.on_change()
                else:
                    session.working.add(report.experiment)
                await self.on_answer(name, report)

    async def _describe(self, name: str, session: _Session, hello: Hello) -> None:
        """Take in that an envoy's data has changed."""
        for shard in (hello.shard, *hello.more_shards):
            check_interface(name, shard, self.settings.agreed)
        session.record = replace(
            session.record, shard=hello.shard, more_shards=hello.more_shards, problem=hello.problem
        )
        if hello.problem is None:
            told = "; ".join(shard.description for shard in session.record.shards)
            log.info("envoy '%s' describes its data anew: %s", name, printable_line(told))
        else:
            log.warning("envoy '%s' refuses orders: %s", name, printable_line(str(hello.problem)))
        await asyncio.to_thread(self._remember, session.record)
        await self.recount()
        self.on_arrival()

    def _pace(self) -> None:
        """Have each envoy send fewer heartbeats the more of them there are, and tell all when that changes."""
        rate = len(self._sessions) / self._period_s
        if rate > self.heartbeats_per_s:
            self._period_s *= 2
        elif rate < self.heartbeats_per_s / 4 and self._period_s > self.settings.heartbeat_s:
            self._period_s /= 2
        else:
            return
        for session in self._sessions.values():
            session.mailbox.put_nowait(Welcome(self._period_s))


def _known(name: str, names: Collection[str], most: int) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    listed = ", ".join(sorted(names)[:most]) or "none yet"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{hint}known: {listed}{more}"
