"""How a worker confines itself: after it was told what it works with, before it loads anything of that."""

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from openfl_like.data.policy import Sandbox
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import SandboxError
from openfl_like.processes.sandbox.confinement import Confinement, alone, available, confine
from openfl_like.processes.sandbox.reach import WorkerPlaces, make_temporary, rules_of, temporary_of

MODULE = "openfl_like.processes.worker"
ORDER = "--order"
"""First argument of a worker that has replaced another one; the second is the order that this one was given."""


def worker_command(python: str, *arguments: str) -> list[str]:
    """Return the command line of a worker; nothing is imported from the folder that it happens to be started in."""
    return [python, "-P", "-m", MODULE, *arguments]


class WorkerWalls:
    """Puts up the walls of this process.

    Args:
        orders: Descriptor of the pipe from its parent, which has to be its stdin again in a program that replaces it.
        answers: Descriptor of the pipe to its parent, which has to be its stdout again there.
    """

    def __init__(self, orders: int, answers: int) -> None:
        self._orders, self._answers = orders, answers

    def raise_for(self, order: Mapping[str, Any], config: ShardConfig) -> Confinement:
        """Confine this process as the site wants it, and return what was reached.

        Walls hold for one thread and what it starts. A worker that has waited with its imports done may have more, and
        is replaced by a new one, once: where that has more as well (`sitecustomize`), nothing is said to be closed. An
        interpreter of the workspace's own is confined from outside before it starts: packages may have it run code of
        theirs then.

        Raises:
            SandboxError: If the site requires more than the kernel offers.
            SettingsError: If a path that shard.yaml names is not there.
        """
        level = Sandbox(order.get("sandbox") or config.sandbox)
        python = Path(order["python"]) if order.get("python") else None
        threaded = level is not Sandbox.OFF and not alone()
        if threaded and not order.get("replaced"):
            self._replace(sys.executable, {**order, "replaced": True})
        reached = Confinement()
        if level is not Sandbox.OFF:
            if level is Sandbox.REQUIRED:
                _demand(available(), order)
            places = places_of(order, python)
            for folder in places.exchanges:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            make_temporary(places.directory)
            reached = confine(rules_of(places, config))
            if threaded:
                reached = Confinement()  # something starts threads in every Python here: they are outside
            if level is Sandbox.REQUIRED:
                _demand(reached, order)
            home = order.get("home") or os.environ.get("HOME", "")  # of the site: what ~ means in its shard.yaml
            _move_in(places.directory)
            order = {**order, "home": home}
        if python is not None:
            self._replace(str(python), {**order, "python": ""})
        return reached

    def _replace(self, python: str, order: Mapping[str, Any]) -> NoReturn:
        """Become another program, which takes this order."""
        os.dup2(self._orders, 0)
        os.dup2(self._answers, 1)
        os.execv(python, worker_command(python, ORDER, json.dumps(order)))  # noqa: S606 (no shell is wanted)


def places_of(order: Mapping[str, Any], python: Path | None = None) -> WorkerPlaces:
    """Return what the order of a parent lets its worker work with."""
    given = [order.get(name) for name in ("plan", "workspace", "models")]
    taken = [order.get(name) for name in ("updates", "state")]
    return WorkerPlaces(
        shard=Path(order["shard"]),
        directory=Path.cwd(),
        reads=tuple(Path(path) for path in given if path),
        exchanges=tuple(Path(path) for path in taken if path),
        device=order.get("device", "cpu"),
        python=python,
    )


def _demand(reached: Confinement, order: Mapping[str, Any]) -> None:
    if not reached.sufficient:
        cure = "use a kernel with Landlock (Linux 6.2 or later) and seccomp, or write sandbox: best"
        text = f"'sandbox: required', but this kernel does not close {', '.join(reached.gaps)}: a worker is {reached}"
        raise SandboxError(text, place=str(order["shard"]), cure=cure)


def _move_in(directory: Path) -> None:
    """Have libraries keep what they keep where this process may write."""
    temporary = str(temporary_of(directory))
    os.environ |= {"HOME": str(directory), "TMPDIR": temporary, "JOBLIB_TEMP_FOLDER": temporary}
    tempfile.tempdir = None
