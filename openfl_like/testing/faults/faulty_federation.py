"""A federation to be broken: real processes over mTLS, a proxy on every line, daemons started again."""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from openfl_like import failpoints
from openfl_like.data.shard import build_shard
from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import UnreachableError
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.workspace import shards_in
from openfl_like.services.local_federation import LocalFederation
from openfl_like.tasks import TaskOwner
from openfl_like.testing.faults.evidence import Process, held_ports, strays_below
from openfl_like.testing.faults.proxy import PASS, FaultProxy
from openfl_like.testing.faults.toy_workload import SAMPLE_SHAPE, TARGET_SHAPE, write_workspace
from openfl_like.testing.gated import gated

SITES = {"site-1": 1.0, "site-2": -2.0, "site-3": 5.0}
USER = "user"
AGGREGATOR = "aggregator"
PROXIED_HOST = "127.0.0.2"  # a proxy listens on an Aggregator's port here; the Aggregator itself on 127.0.0.1
AGGREGATOR_PORTS = 8
BELOW_EPHEMERAL = range(20_000, 32_000)  # no outgoing connection is given one of these
RESTART_S = 0.5
DIE_S = 10.0


@dataclass(frozen=True, slots=True)
class PlanWithShards:
    """A plan whose task runner has the setting ``gate``, and the sites' data.

    Attributes:
        plan: The plan.
        shards: Site -> shard.yaml.
        sample_shape: What director.yaml asks of every shard.
        target_shape: As above.
        overrides: What the plan is changed by.
    """

    plan: Path
    shards: Mapping[str, Path]
    sample_shape: Sequence[int] = SAMPLE_SHAPE
    target_shape: Sequence[int] = TARGET_SHAPE
    overrides: tuple[str, ...] = ()


def toy_workload(place: Path, sites: int = 3) -> PlanWithShards:
    """Write the toy workload for up to three sites into a directory."""
    plan, shards = write_workspace(place, dict(list(SITES.items())[:sites]))
    return PlanWithShards(plan, shards)


def workload_of(path: Path) -> PlanWithShards:
    """Return the workload of a plan whose workspace has shards.

    Raises:
        PlanError: If the plan has mistakes.
        NotFoundError: If its workspace has no shards.
    """
    plan = load_plan(path)
    shards = shards_in(workspace_of(path, plan))
    file = next(iter(shards.values()))
    shard = build_shard(load_shard_config(file), file.parent)
    return PlanWithShards(path, shards, tuple(shard.sample_shape), tuple(shard.target_shape), gated(plan))


@dataclass(slots=True)
class FaultyFederation:
    """One Director and three Envoys; an async context manager.

    Args:
        directory: Where keys, state and logs go; nothing else may work below it.
        seed: Decides what the proxies draw.
        workload: What it works at; None: the toy workload of three sites.

    Attributes:
        plan: The plan of the workload.
        names: The sites, in order.
        lines: Site or user -> the proxy before the Director that it dials; `AGGREGATOR` -> those before the ports of
            Aggregators.
    """

    directory: Path
    seed: int = 0
    workload: PlanWithShards | None = None
    federation: LocalFederation = field(init=False)
    plan: Path = field(init=False)
    names: list[str] = field(init=False)
    lines: dict[str, list[FaultProxy]] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    own_ends: list[str] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    _ports: range = range(0)
    _keepers: TaskOwner = field(default_factory=TaskOwner)
    _closing: bool = False

    def __post_init__(self) -> None:
        work = self.workload or toy_workload(self.directory / "workspace")
        self.plan, self.names = work.plan, list(work.shards)
        environment = {failpoints.SWITCH: f"@{self.switch}", failpoints.LANDED: str(self.landed)}
        place = self.directory / "federation"
        shapes = work.sample_shape, work.target_shape
        self.federation = LocalFederation(place, work.shards, *shapes, environment=environment)

    @property
    def switch(self) -> Path:
        """The failpoints that are armed."""
        return self.directory / "failpoints"

    @property
    def landed(self) -> Path:
        """The landing record of failpoints."""
        return self.directory / "failpoints-landed.jsonl"

    def landings(self) -> str:
        """The landing record, as it is now."""
        return self.landed.read_text(encoding="utf-8") if self.landed.exists() else ""

    @property
    def state(self) -> Path:
        """The Director's state."""
        return self.federation.state

    @property
    def director(self) -> str:
        """Where the user finds the Director."""
        return self.lines[USER][0].address

    async def __aenter__(self) -> Self:
        federation = self.federation
        federation.directory.mkdir(parents=True, exist_ok=True)
        try:
            await asyncio.to_thread(federation.make_certificates)
            self._ports = free_block(AGGREGATOR_PORTS)
            federation.aggregator_host = PROXIED_HOST
            federation.aggregator_ports = f"{self._ports[0]}-{self._ports[-1]}"
            await federation.start_director()
            await self._draw_lines()
            await asyncio.gather(*(federation.start_envoy(name) for name in self.names))
        except BaseException:
            await self.close()
            raise
        self._keep("director", federation.start_director)
        for name in self.names:
            self._keep(name, _starter(federation, name))
        return self

    async def _draw_lines(self) -> None:
        for name in (*self.names, USER):
            proxy = await self._proxy(name, FaultProxy(_numeric(self.federation.director), seed=self._line_seed()))
            self.federation.dial[name] = proxy.address
        for port in self._ports:
            proxy = FaultProxy(f"127.0.0.1:{port}", seed=self._line_seed(), listen=f"{PROXIED_HOST}:{port}")
            await self._proxy(AGGREGATOR, proxy)

    def _line_seed(self) -> int:
        return self.seed * 100 + sum(map(len, self.lines.values()))

    async def _proxy(self, line: str, proxy: FaultProxy) -> FaultProxy:
        await proxy.__aenter__()
        self.lines.setdefault(line, []).append(proxy)
        return proxy

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End everything."""
        self._closing = True
        await self._keepers.close()
        self.thaw_all()
        await self.federation.__aexit__()
        for proxy in self.proxies:
            await proxy.__aexit__()

    async def remains(self) -> tuple[list[Process], list[int]]:
        """Wait for what the ended federation left behind to vanish; return what has not after `DIE_S` seconds."""
        ports = {int(self.federation.director.rpartition(":")[2]), *self._ports}
        loop = asyncio.get_running_loop()
        end = loop.time() + DIE_S
        while True:
            strays, held = strays_below(self.federation.directory), held_ports(ports)
            if not (strays or held) or loop.time() > end:
                break
            await asyncio.sleep(0.2)
        for stray in strays:
            with suppress(psutil.Error):
                psutil.Process(stray.pid).kill()
        return strays, held

    @property
    def proxies(self) -> list[FaultProxy]:
        """The proxies of all lines."""
        return [proxy for line in self.lines.values() for proxy in line]

    # ---- who is there

    def find(self, role: str) -> list[psutil.Process]:
        """Return the processes of a role that are there, in the order in which they were started."""
        if role == "director":
            return _alive([self._daemon("director")])
        if role == "envoy":
            return _alive([self._daemon(name) for name in self.names])
        return self.federation.processes(role)

    def _daemon(self, name: str) -> int:
        child = self.federation.children.get(name)
        return child.process.pid if child is not None and child.process.returncode is None else 0

    def thaw_all(self) -> None:
        """Let every frozen process go on."""
        for process in self.federation.processes():
            with suppress(psutil.Error):
                if process.status() == psutil.STATUS_STOPPED:
                    process.resume()

    async def heal(self) -> None:
        """Take every fault of the network and of processes away."""
        for proxy in self.proxies:
            await proxy.apply(PASS)
        self.switch.unlink(missing_ok=True)
        self.thaw_all()

    # ---- what systemd would do

    def _keep(self, name: str, start: Callable[[], Awaitable[None]]) -> None:
        self._keepers.start(self._restart_forever(name, start))

    async def _restart_forever(self, name: str, start: Callable[[], Awaitable[None]]) -> None:
        while not self._closing:
            code = await self.federation.children[name].wait()
            if code != -9:
                last = self.federation.children[name].last_line()
                self.own_ends.append(f"{name} ended by itself with {code}: {last}")
            await asyncio.sleep(RESTART_S)
            self.restarts[name] = self.restarts.get(name, 0) + 1
            loop = asyncio.get_running_loop()
            begin = loop.time()
            try:
                await start()
                if name == "director":
                    self.ready_s.append(loop.time() - begin)
            except UnreachableError:
                await self.federation.children[name].stop(grace_s=0.0)


def _starter(federation: LocalFederation, name: str) -> Callable[[], Awaitable[None]]:
    async def start() -> None:
        await federation.start_envoy(name)

    return start


def _numeric(address: str) -> str:
    """The proxies' own sockets need no name resolution."""
    host, _, port = address.rpartition(":")
    return f"{'127.0.0.1' if host == 'localhost' else host}:{port}"


def free_block(size: int) -> range:
    """Find ports in a row that nobody listens on, neither at 127.0.0.1 nor at `PROXIED_HOST`.

    Raises:
        OSError: If there are none, or this machine has no `PROXIED_HOST`.
    """
    first = random.SystemRandom().choice(BELOW_EPHEMERAL)
    span = BELOW_EPHEMERAL.stop - BELOW_EPHEMERAL.start
    for offset in range(0, span, size):
        start = BELOW_EPHEMERAL.start + (first - BELOW_EPHEMERAL.start + offset) % span
        block = range(start, start + size)
        if all(_free(host, port) for port in block for host in ("127.0.0.1", PROXIED_HOST)):
            return block
    raise OSError(f"there are no {size} free ports in a row between {BELOW_EPHEMERAL.start} and {BELOW_EPHEMERAL.stop}")


def _free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _alive(pids: list[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        with suppress(psutil.Error, ValueError):
            if pid:
                found.append(psutil.Process(pid))
    return found
