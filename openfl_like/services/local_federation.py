"""A whole federation on one machine: a Director and Envoys as child processes over mTLS, all keys fresh."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil

from openfl_like.errors import UnreachableError
from openfl_like.pki.administration import issue_credentials
from openfl_like.pki.authority import create_authorities
from openfl_like.pki.files import credentials_dir, save_credentials
from openfl_like.pki.roles import SERVER_ROLES, Identity, Role
from openfl_like.processes.child import Child, clean_environment, fx_command, spawn
from openfl_like.store.director_files import EXPERIMENTS

READY_TIMEOUT_S = 60.0
LIFETIME = timedelta(days=1)


@dataclass(slots=True)
class LocalFederation:
    """Starts and ends the processes; an async context manager.

    Args:
        directory: Where keys, state and logs go.
        sites: Site name -> its shard.yaml.
        sample_shape: What director.yaml asks of every shard.
        target_shape: As above.
        name: Name of the federation.
        heartbeat_s: Seconds between an envoy's heartbeats.
        environment: What the processes get besides the clean environment.
        dial: Site -> the address at which it finds the Director, when that is not the Director's own.
        aggregator_ports: Ports for Aggregators, as in director.yaml.
        aggregator_host: Host at which sites find Aggregators, when that is not the Director's own.
        settings: What director.yaml has besides; with ``interfaces`` it has no shapes.
        more_shards: Site -> further shard files, each of another data interface.
    """

    directory: Path
    sites: Mapping[str, Path]
    sample_shape: Sequence[int]
    target_shape: Sequence[int]
    name: str = "local"
    heartbeat_s: float = 2.0
    director: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    dial: dict[str, str] = field(default_factory=dict)
    aggregator_ports: str = "0"
    aggregator_host: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    more_shards: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict)
    _logs: ExitStack = field(default_factory=ExitStack)

    @property
    def user_certificates(self) -> Path:
        """Folder of the user's certificate and key."""
        return self.directory / "certs" / "user" / "user"

    @property
    def state(self) -> Path:
        """The Director's state."""
        return self.directory / "director-state"

    async def __aenter__(self) -> "LocalFederation":
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            await asyncio.to_thread(self.make_certificates)
            await self.start_director()
            await asyncio.gather(*(self.start_envoy(name) for name in self.sites))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        envoys = [child for name, child in self.children.items() if name != "director"]
        await asyncio.gather(*(child.stop() for child in envoys))
        if "director" in self.children:
            await self.children["director"].stop()
        self.children.clear()
        self._logs.close()

    async def start_director(self) -> None:
        """Start the Director and wait until it listens; again on the same address if it ran before."""
        config = self.directory / "director.yaml"
        shapes = {"sample_shape": list(self.sample_shape), "target_shape": list(self.target_shape)}
        settings = {
            "listen": self.director or "localhost:0",
            "aggregator_host": self.aggregator_host,
            "aggregator_ports": self.aggregator_ports,
            **({} if "interfaces" in self.settings else shapes),
            "heartbeat_s": self.heartbeat_s,
            **self.settings,
        }
        config.write_text("\n".join(f"{key}: {json.dumps(value)}" for key, value in settings.items()) + "\n")
        ready = await self._start("director", ["director", "start", "-c", str(config), "--json", "--with-parent"])
        self.director = str(ready["address"])

    async def start_envoy(self, name: str) -> None:
        """Start a site's Envoy and wait until the Director has welcomed it."""
        shards = [self.sites[name], *self.more_shards.get(name, ())]
        await self._start(
            name,
            [
                "envoy", "start", "--json", "--with-parent",
                "-n", name,
                *(word for shard in shards for word in ("-sc", str(shard.resolve()))),
                "-d", self.dial.get(name, self.director),
                "--certificates", str(self.directory / "certs" / "envoy" / name),
                "--directory", str(self.directory / f"envoy-{name}"),
            ],
        )  # fmt: skip

    async def kill(self, name: str) -> int:
        """Kill the Director or a site's Envoy (SIGKILL), wait until it is gone, and return its process number."""
        child = self.children[name]
        child.process.kill()
        await child.wait()
        return child.process.pid

    def processes(self, role: str = "") -> list[psutil.Process]:
        """Return all that works below the directory, oldest first; of one role (see `role_of`) if that is named."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if Path(process.cwd()).is_relative_to(self.directory) and role in {"", role_of(process)}:
                    found.append((process.create_time(), process.pid, process))
        return [process for _, _, process in sorted(found)]

    def log(self, name: str) -> Path:
        """The log of a process."""
        return self.directory / f"{name}.log"

    def issue(self, role: Role, name: str, experiment: str = "") -> Path:
        """Make a key and a certificate and return their folder."""
        certs = self.directory / "certs"
        identity = Identity(self.name, role, name, experiment)
        hosts = ("localhost",) if role in SERVER_ROLES else ()
        folder = credentials_dir(certs, identity)
        save_credentials(folder, issue_credentials(certs, identity, lifetime=LIFETIME, hosts=hosts), replace=True)
        return folder

    def make_certificates(self) -> None:
        """Found the federation and issue what its processes and one user need."""
        create_authorities(self.directory / "certs", self.name)
        self.issue(Role.DIRECTOR, "director")
        self.issue(Role.USER, "user")
        for site in self.sites:
            self.issue(Role.ENVOY, site)

    async def _start(self, name: str, arguments: Sequence[str]) -> dict[str, object]:
        file = self._logs.enter_context(self.log(name).open("a", encoding="utf-8"))

        def write(line: str) -> None:
            file.write(line + "\n")
            file.flush()

        environment = clean_environment(self.environment)
        child = await spawn(fx_command(*arguments), on_line=write, cwd=self.directory, environment=environment)
        self.children[name] = child
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                line = await child.line()
        except TimeoutError:
            line = ""
        found: dict[str, object] = json.loads(line or "{}")
        if "kind" not in found:
            if line:  # it says with which error it ends
                await child.wait()
            last = child.last_line() or "it wrote nothing"
            raise UnreachableError(f"the {name} did not start: {last}", place=str(self.log(name)))
        return found


def role_of(process: psutil.Process) -> str:
    """Name the role of a process of an experiment; empty for one that only waits for its arguments."""
    with suppress(psutil.Error, OSError):
        words = process.cmdline()
        if "openfl_like.processes.worker" in words:
            return "worker" if Path(process.cwd()).name == "work" else ""  # a spare one waits elsewhere
        if "collaborator" in words and any(role_of(child) == "worker" for child in process.children()):
            return "collaborator"
        if "aggregator" in words and any(_is_of_experiment(Path(file.path)) for file in process.open_files()):
            return "aggregator"
    return ""


def _is_of_experiment(path: Path) -> bool:
    """Whether a file lies in an experiment's directory, as its record does."""
    return path.parent.parent.name == EXPERIMENTS
