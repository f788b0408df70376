"""One experiment at one site."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.federation.devices.placement import CPU
from openfl_like.federation.ports import (
    Order,
)
from openfl_like.processes.child import Child, describe_exit
from openfl_like.processes.restarts import Restarts
from openfl_like.processes.watchdog import FROZEN_S
from openfl_like.services.logs.sender import LogRoute
from openfl_like.services.logs.writers import WORKER, unmarked
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.site_files import progress_note


@dataclass(slots=True)
class SiteExperiment:
    """One experiment at this site."""

    order: Order
    files: ExperimentFiles
    route: LogRoute
    key: bytes = b""
    child: Child | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    watch: asyncio.Task[None] | None = None
    vigil: asyncio.Task[None] | None = None
    restarts: Restarts = field(default_factory=Restarts)
    session: int = 0
    providing: asyncio.Task[None] | None = None
    python: Path | None = None
    device: str = CPU

    @property
    def run_directory(self) -> Path:
        """Where the collaborator and its worker work."""
        return self.files.directory / "run"

    @property
    def workspace(self) -> Path:
        """Where the submitted code is."""
        return self.files.directory / "workspace"

    @property
    def under_way(self) -> bool:
        """Whether a collaborator was started, or what it needs is being prepared."""
        return self.child is not None or (self.providing is not None and not self.providing.done())

    def progressed(self) -> bool:
        """Whether the collaborator has delivered something since it was asked last."""
        note = progress_note(self.run_directory)
        found = note.exists()
        note.unlink(missing_ok=True)
        return found


def _last_words(work: SiteExperiment, code: int) -> str:
    assert work.child is not None  # noqa: S101 (it has ended)
    last = next((line for line in reversed(work.child.tail) if line.strip()), "") if work.route.shared else ""
    workers, last = unmarked(last)
    last = f"{WORKER}: {last}" if workers else last
    if work.child.frozen:
        last = f"it was frozen for {FROZEN_S:g} s"
    times = f", {work.restarts.count + 1} times without delivering anything" if work.restarts.count else ""
    return f"{describe_exit(code)}{times}" + (f"; last line: {last}" if last else "")
