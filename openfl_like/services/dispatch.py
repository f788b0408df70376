"""One experiment from the head of the queue to its end: an Aggregator is started, envoys are given orders."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from openfl_like.errors import ConflictError, ExperimentFailedError, FederationError, UnreachableError
from openfl_like.failpoints import failpoint
from openfl_like.federation.events import Announce, Notice, Status
from openfl_like.federation.parties import EventRecord
from openfl_like.federation.ports import CollaboratorEnded, IssuedCertificate, Order, OrderReply, StopOrder
from openfl_like.pki.authority import Authority, new_key_and_csr
from openfl_like.pki.files import Credentials, save_credentials
from openfl_like.pki.roles import Identity, Role
from openfl_like.plan.digest import thaw
from openfl_like.plan.schema import Plan
from openfl_like.services.envoy import LogSender
from openfl_like.services.roster import Roster
from openfl_like.services.settings import DirectorFile
from openfl_like.services.spawn import Child, Standby, describe_exit
from openfl_like.store.director import StoredExperiment
from openfl_like.store.files import ExperimentFiles
from openfl_like.wire.aggregator import AggregatorClient

log = logging.getLogger(__name__)
START_TIMEOUT_S = 30.0
END_GRACE_S = 8.0


@dataclass(frozen=True, slots=True)
class Desk:
    """What every dispatch needs of its Director.

    Attributes:
        settings: director.yaml.
        credentials: The Director's certificate and key.
        authority: The experiment authority.
        roster: The envoys.
        on_status: Told when an experiment moves on.
        on_event: Gets each event of its Aggregator, for watchers.
        announce: Adds to its history, before its Aggregator does.
        standby: Starts Aggregators.
    """

    settings: DirectorFile
    credentials: Credentials
    authority: Authority
    roster: Roster
    on_status: Callable[[Status, str], None]
    on_event: Callable[[EventRecord], None]
    announce: Callable[[Announce], None]
    standby: Standby


@dataclass(slots=True)
class Dispatch:
    """The life of one experiment at the Director.

    Args:
        desk: The Director's parts.
        experiment: Which one.
        files: Its directory.
    """

    desk: Desk
    experiment: StoredExperiment
    files: ExperimentFiles
    _child: Child | None = None
    _address: str = ""
    _invited: set[str] = field(default_factory=set)
    _out: dict[str, str] = field(default_factory=dict)
    _joined: set[str] = field(default_factory=set)
    _cancelled_by: str = ""
    _end: tuple[Status, str] | None = None
    _refused: asyncio.Event = field(default_factory=asyncio.Event)
    _connected: asyncio.Event = field(default_factory=asyncio.Event)
    _starting: asyncio.Task[None] | None = None
    _inviting: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The experiment's id."""
        return self.experiment.summary.id

    async def run(self) -> tuple[Status, str]:
        """Runs the experiment and gives how it ended; never raises for what an experiment can do wrong."""
        try:
            plan = thaw(self.files.plan.read_bytes())
            self.desk.on_status(Status.STARTING, "")
            self._starting = asyncio.create_task(self._prepare(plan))
            await self._starting
            self.desk.on_status(Status.RUNNING, "")
            return await self._oversee(plan)
        except FederationError as error:
            return Status.FAILED, str(error)
        except OSError as error:
            return Status.FAILED, f"the director could not run it: {error}"
        except asyncio.CancelledError:
            if not self._cancelled_by:
                raise
            return Status.CANCELLED, f"cancelled by {self._cancelled_by}"
        finally:
            await self._clean_up()

    async def cancel(self, by: str) -> None:
        """Ends the experiment: its Aggregator is asked to, or its start is broken off."""
        self._cancelled_by = by
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
        if not self._connected.is_set():
            return  # the relay looks whether it was cancelled as soon as it is connected
        with contextlib.suppress(UnreachableError):
            async with self._client() as client:
                await client.cancel(self._cancelled_by)

    async def answer(self, site: str, answer: OrderReply | CollaboratorEnded) -> None:
        """Takes what an envoy reports about this experiment."""
        if isinstance(answer, CollaboratorEnded):
            await self._collaborator_ended(site, answer)
        elif answer.accepted:
            self.desk.roster.send(site, IssuedCertificate(self.id, self._certify(site, answer.csr)))
            failpoint("director.certificate.sent")
        else:
            self._lose(site, f"refused: {answer.reason}")

    async def _collaborator_ended(self, site: str, answer: CollaboratorEnded) -> None:
        if answer.exit_code == 0:
            return
        if site not in self._joined:
            self._lose(site, f"its collaborator ended before it joined: {answer.reason}")
            return
        with contextlib.suppress(UnreachableError):  # an Aggregator that has ended needs no telling
            async with self._client() as client:
                await client.report_loss(site, f"its collaborator ended: {answer.reason}")

    def _lose(self, site: str, reason: str) -> None:
        log.warning("experiment %s: site '%s' %s", self.id, site, reason)
        self._out[site] = reason
        self._refused.set()

    def _certify(self, site: str, csr: bytes) -> bytes:
        identity = Identity(self.desk.authority.federation, Role.COLLABORATOR, site, self.id)
        lifetime = timedelta(hours=self.desk.settings.certificate_hours)
        return self.desk.authority.issue(identity, csr, lifetime=lifetime, now=datetime.now(UTC))

    async def _prepare(self, plan: Plan) -> None:
        await self._gather(plan)
        failpoint("director.dispatch.gathered")
        host = self.desk.settings.listen.rpartition(":")[0]
        self._address = f"{host}:{_free_port(host, self.desk.settings.ports)}"
        self._inviting = asyncio.create_task(self._invite())  # sites get ready while the Aggregator does
        await self._start()

    async def _gather(self, plan: Plan) -> None:
        """Waits until enough of the envoys that the plan wants are there, and fixes whom to ask."""
        wanted, least = set(plan.admission.collaborators), _least(plan)

        def enough(online: tuple[str, ...]) -> bool:
            return len(wanted & set(online) if wanted else online) >= (len(wanted) or least)

        online = self.desk.roster.online()
        if not enough(online):
            fields = {"online": list(online), "missing": sorted(wanted - set(online)), "needed": len(wanted) or least}
            timeout = {"timeout_s": plan.admission.timeout_s}
            self.desk.announce(Announce(Notice.EXPERIMENT_WAITING, fields | timeout))
        everybody = await self.desk.roster.until(enough, plan.admission.timeout_s)
        there = set(self.desk.roster.online())
        self._invited = wanted & there if wanted else there
        if not everybody and len(self._invited) < least:
            missing = f"; missing: {', '.join(sorted(wanted - there))}" if wanted - there else ""
            raise ExperimentFailedError(
                f"{len(self._invited)} of {least} envoys were there within {plan.admission.timeout_s:g} s{missing}"
            )

    async def _start(self) -> None:
        """Starts the Aggregator as a child and waits until it listens."""
        key, csr = new_key_and_csr()
        identity = Identity.aggregator(self.desk.authority.federation, self.id)
        lifetime = timedelta(hours=self.desk.settings.certificate_hours)
        chain = self.desk.authority.issue(identity, csr, lifetime=lifetime, now=datetime.now(UTC))
        failpoint("director.dispatch.certified")
        certificates = self.files.directory / "certificate"
        save_credentials(certificates, Credentials(identity, chain, key, self.desk.credentials.trust), replace=True)
        failpoint("director.dispatch.saved")
        expected = [option for name in sorted(self._invited) for option in ("--expect", name)]
        lines = LogSender(self.id, "aggregator", self.files.log("aggregator"), lambda _: None)
        arguments = (
            "start",
            "--plan", str(self.files.plan),
            "--workspace", str(self.files.directory / "workspace"),
            "--experiment", self.id,
            "--directory", str(self.files.directory),
            "--listen", self._address,
            "--certificates", str(certificates),
            "--with-parent", "--json",
            *expected,
        )  # fmt: skip
        self._child = await self.desk.standby.start(arguments, lines.add)
        failpoint("director.dispatch.started")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await self._child.line()
        except TimeoutError:
            raise ExperimentFailedError(f"the aggregator was not ready within {START_TIMEOUT_S:g} s") from None
        if not line:
            raise ExperimentFailedError(await self._post_mortem())
        self._address = str(json.loads(line)["address"])
        failpoint("director.dispatch.listening")

    async def _oversee(self, plan: Plan) -> tuple[Status, str]:
        """Relays the Aggregator's events until it has ended."""
        tasks = [
            asyncio.create_task(self._relay()),
            asyncio.create_task(self._watch_refusals(plan)),
        ]
        try:
            assert self._child is not None  # noqa: S101 (started before)
            draining = asyncio.create_task(self._drain_output())
            await asyncio.wait(set(tasks), return_when=asyncio.FIRST_COMPLETED)
            if tasks[1].done() and (verdict := tasks[1].result()):
                return verdict
            async with asyncio.timeout(END_GRACE_S):
                await self._child.wait()
            draining.cancel()
        except TimeoutError:
            log.warning("experiment %s: its aggregator did not end by itself", self.id)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self._end or (Status.FAILED, await self._post_mortem())

    async def _drain_output(self) -> None:
        assert self._child is not None  # noqa: S101 (started before)
        while await self._child.line():
            pass

    async def _relay(self) -> None:
        """Follows the Aggregator's events; its own end is in the last one."""
        with contextlib.suppress(UnreachableError):
            async with self._client() as client:
                self._connected.set()
                if self._cancelled_by:
                    await client.cancel(self._cancelled_by)
                async for event in client.watch():
                    if event.kind == "collaborator_joined":
                        self._joined.add(str(event.fields["collaborator"]))
                    if event.kind == "experiment_ended":
                        self._end = Status(str(event.fields["status"])), str(event.fields["reason"])
                    failpoint("director.relay.event")
                    self.desk.on_event(event)

    async def _invite(self) -> None:
        """Gives the order to every invited envoy, and again to one that comes back."""
        host = self.desk.settings.reachable_host
        address = f"{host}:{self._address.rpartition(':')[2]}"
        item = self.experiment
        order = Order(self.id, item.bundle, item.signature, item.certificates, address)
        asked: set[int] = set()
        while True:
            for number, name in (await self.desk.roster.arrivals(asked)).items():
                asked.add(number)
                if name in self._invited:
                    self.desk.roster.send(name, order)
                    failpoint("director.order.sent")

    async def _watch_refusals(self, plan: Plan) -> tuple[Status, str]:
        """Ends when so many sites are out that the experiment cannot start any more."""
        least = plan.admission.min_collaborators or len(self._invited)
        while True:
            await self._refused.wait()
            self._refused.clear()
            if len(self._invited - set(self._out)) < least and not self._joined >= self._invited:
                reasons = "; ".join(f"site '{site}' {reason}" for site, reason in sorted(self._out.items()))
                return Status.FAILED, f"{least} collaborators are needed: {reasons}"

    def _client(self) -> AggregatorClient:
        return AggregatorClient(self._address, self.id, self.desk.credentials)

    async def _post_mortem(self) -> str:
        assert self._child is not None  # noqa: S101 (started before)
        code = await self._child.stop()
        last = next((line for line in reversed(self._child.tail) if line.strip()), "")
        return f"the aggregator ended: {describe_exit(code)}" + (f"; last line: {last}" if last else "")

    async def _clean_up(self) -> None:
        if self._inviting is not None:
            self._inviting.cancel()
        for name in self._invited:
            self.desk.roster.send(name, StopOrder(self.id, "the experiment has ended"))
        if self._child is not None:
            await self._child.stop()
        self.desk.standby.prepare()


def _least(plan: Plan) -> int:
    """How many sites the plan needs at the least."""
    return plan.admission.min_collaborators or len(plan.admission.collaborators) or 1


def _free_port(host: str, ports: range) -> int:
    """Finds a port of the range that nobody listens on; 0 in it stands for any.

    Raises:
        ConflictError: If all are taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in ports:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ConflictError(
        f"all aggregator ports {ports.start}-{ports.stop - 1} are taken", cure="widen aggregator_ports in director.yaml"
    )
