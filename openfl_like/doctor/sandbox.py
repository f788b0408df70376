"""How far a site's workers are confined: the list of what they may do, and an attempt at everything else."""

import asyncio
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from openfl_like.data.policy import Sandbox
from openfl_like.data.shard_file import ShardConfig
from openfl_like.doctor.checks import BlockedError, Check, Deferred
from openfl_like.doctor.finding import Finding, Verdict, fine, warning
from openfl_like.processes.child import spawn
from openfl_like.processes.sandbox.landlock import RIGHTS, Access, Right
from openfl_like.processes.sandbox.trial import MODULE, Targets, Trial, TrialOutcome

_CAUSE = "the kernel is older than the wall, or does not let this process (a container's, perhaps) have it"
_CURE = "use Linux 6.12 or later with landlock among its lsm=, and let the container use Landlock and seccomp"


@dataclass(slots=True)
class SandboxTrial:
    """The checks of what a worker of this site would be kept from.

    Args:
        shard: The site's shard.yaml.
        config: What is in it.
        key: The site's private key.
        directory: Where the Envoy works.
        limit_s: How long the trial may take.
    """

    shard: Path
    config: Deferred[ShardConfig]
    key: Path
    directory: Path
    limit_s: float
    outcome: Deferred[TrialOutcome] = field(init=False)

    def __post_init__(self) -> None:
        self.outcome = Deferred("sandbox", self._try)

    def checks(self) -> list[Check]:
        """Return the checks."""
        return [Check("sandbox", self._walls, self.limit_s + 10), Check("sandbox files", self._files, self.limit_s)]

    async def _walls(self) -> Finding:
        config = await self.config.given()
        if config.sandbox is Sandbox.OFF:
            cause = "shard.yaml says 'sandbox: off': submitted code reads what this user reads, the site's key too"
            return warning("sandbox", "workers are not confined", cause, "write 'sandbox: required', or leave it out")
        outcome = await self.outcome.get()
        tries = tuple(
            f"{'open  ' if attempt.reached else 'closed'}  {attempt.what}: {attempt.answer}"
            for attempt in outcome.attempts
        )
        seen = f"workers are {outcome.confinement}"
        if not outcome.confinement.gaps and not any(attempt.reached for attempt in outcome.attempts):
            return Finding("sandbox", Verdict.OK, seen, problems=tries)
        required = config.sandbox is Sandbox.REQUIRED and not outcome.confinement.sufficient
        return Finding("sandbox", Verdict.FAIL if required else Verdict.WARN, seen, _CAUSE, _CURE, tries)

    async def _files(self) -> Finding:
        config = await self.config.given()
        if config.sandbox is Sandbox.OFF:
            return fine("sandbox files", "whatever this user may read and write")
        outcome = await self.outcome.given()
        where = f"below {self.directory}/ID"
        reads = [path for path, access in outcome.rules if _right(access, Right.READ_FILE)]
        writes = [path for path, access in outcome.rules if _right(access, Right.WRITE_FILE)]
        lists = [path for path, access in outcome.rules if access == Access.LIST]
        told = (
            *(f"read   {path}" for path in reads if path not in writes),
            f"read   workspace, plan and run/models {where}",
            *(f"names  {path}" for path in lists),
            *(f"write  {path}" for path in writes),
            f"write  run/work, run/updates and run/algorithm {where}",
        )
        seen = f"a worker may read {len(reads)} paths and what is below them"
        return Finding("sandbox files", Verdict.OK, seen, problems=told)

    async def _try(self) -> TrialOutcome:
        await self.config.given()
        with tempfile.TemporaryDirectory(prefix="fx-doctor-") as name:
            scratch = Path(name).resolve()
            for folder in ("work", "outside", "other"):
                (scratch / folder).mkdir()
            canary = scratch / "other" / "canary"
            canary.write_text("not a worker's\n", encoding="ascii")
            key = self.key.absolute() if self.key.is_file() else canary
            async with _listening() as (port, abstract):
                places = str(key), str(scratch / "other"), str(scratch / "outside")
                targets = Targets(*places, os.getpid(), port, abstract)
                trial = Trial(str(self.shard.resolve()), str(scratch / "work"), targets)
                async with asyncio.timeout(self.limit_s):
                    outcome = await _tried(trial)
        kept = tuple(rule for rule in outcome.rules if not rule[0].startswith(str(scratch)))
        return TrialOutcome(outcome.confinement, kept, outcome.attempts)


def _right(access: str, right: Right) -> bool:
    return bool(RIGHTS[Access(access)] & right)


async def _tried(trial: Trial) -> TrialOutcome:
    child = await spawn([sys.executable, "-P", "-m", MODULE], cwd=Path(trial.directory))
    try:
        assert child.process.stdin is not None  # noqa: S101 (always piped)
        child.process.stdin.write(json.dumps(asdict(trial)).encode() + b"\n")
        await child.process.stdin.drain()
        answer = await child.line()
    finally:
        await child.stop(grace_s=0.0)
    if not answer:
        raise BlockedError(f"the process that tried it ended: {child.last_line()}")
    return TrialOutcome.of(json.loads(answer))


@asynccontextmanager
async def _listening() -> AsyncIterator[tuple[int, str]]:
    """Somebody who can be reached on this machine: by TCP, and by a socket without a file where there are such."""
    name = f"fx-doctor-{os.getpid()}" if sys.platform == "linux" else ""
    tcp = await asyncio.start_server(_hang_up, "127.0.0.1", 0)
    async with tcp:
        port = int(tcp.sockets[0].getsockname()[1])
        if not name:
            yield port, name
            return
        line = socket.socket(socket.AF_UNIX)
        line.bind("\0" + name)
        async with await asyncio.start_unix_server(_hang_up, sock=line):
            yield port, name


def _hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()
