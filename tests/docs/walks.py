"""Following the commands of a document as a reader would: blocks in order, daemons beside, machines as folders.

A comment above a block says what is done with it: ``check: run`` runs it, ``check: start N`` leaves it running and
waits until N processes have said that they are ready, ``check: stop`` ends what was started there, ``check: … as FILE``
(YAML) writes it to a file. ``on MACHINE`` says where; ``scp`` copies between the folders of the machines. A plan that
is started without a Director names its ports; ``with free ports in FILE`` gives it some that nobody has here before the
block is run.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.documents import ROOT, Block, blocks_of

BASH = shutil.which("bash") or "/bin/bash"
READY = re.compile(r"listening on|listens on|attends")
SCP = """#!/bin/sh
set -e
while [ "${1#-}" != "$1" ]; do shift; done
mkdir -p "@ROOT@/${2%%:*}"
cp -Rp "$1" "@ROOT@/${2%%:*}/${2#*:}"
"""


@dataclass(slots=True)
class Walk:
    """The machines of one document.

    Args:
        root: Where their folders are.
        hosts: The names that the document gives to hosts which somebody dials; they become ``localhost``.
    """

    root: Path
    hosts: tuple[str, ...] = ()
    printed: str = ""
    _daemons: list[tuple[Path, subprocess.Popen[str]]] = field(default_factory=list)
    _readers: list[threading.Thread] = field(default_factory=list)
    _ports: dict[str, str] = field(default_factory=lambda: {port: _free_port() for port in ("50049", "50050")})

    def follow(self, path: Path) -> None:
        """Does what a document says."""
        for block in blocks_of(path):
            words = block.tag.split()
            folder = self._folder(words[words.index("on") + 1] if "on" in words else "here")
            if "ports" in words:
                with (folder / words[words.index("ports") + 2]).open("a") as plan:
                    plan.write(f"network: {{settings: {{port: {_free_port()}, data_port: 0}}}}\n")
            if "as" in words:
                (folder / words[words.index("as") + 1]).write_text(self._translated(block.text))
            elif words and words[0] == "run":
                self._run(block, folder)
            elif words and words[0] == "start":
                self._start(block, folder, int(words[1]))
            elif words and words[0] == "stop":
                self._stop(folder)

    def end(self) -> None:
        """Ends all daemons as Ctrl-C does."""
        self._stop(self.root)
        for reader in self._readers:
            reader.join(timeout=20)
        for _, daemon in self._daemons:
            assert daemon.stdout is not None
            daemon.stdout.close()

    def _stop(self, folder: Path) -> None:
        """Ends the daemons of a machine, the last one first."""
        stopped = [daemon for place, daemon in self._daemons if place.is_relative_to(folder)]
        for daemon in reversed(stopped):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGINT)
        for daemon in stopped:
            daemon.wait(timeout=20)

    def _folder(self, machine: str) -> Path:
        folder = self.root / machine
        folder.mkdir(exist_ok=True)
        return folder

    def _translated(self, text: str) -> str:
        return "\n".join(self._dialled(line) for line in text.split("\n"))

    def _dialled(self, line: str) -> str:
        if line.lstrip().startswith("scp "):
            return line  # from folder to folder
        for name, real in (*dict.fromkeys(self.hosts, "localhost").items(), *self._ports.items()):
            line = line.replace(name, real)
        return line

    def _environment(self) -> dict[str, str]:
        tools = self.root / "tools"
        if not tools.exists():
            tools.mkdir()
            (tools / "scp").write_text(SCP.replace("@ROOT@", str(self.root)))
            (tools / "scp").chmod(0o755)
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**os.environ, "PATH": path, "FX_DIRECTOR": f"localhost:{self._ports['50050']}"}

    def _run(self, block: Block, folder: Path) -> None:
        command = [BASH, "-euo", "pipefail", "-c", self._translated(block.text)]
        done = subprocess.run(
            command, cwd=folder, env=self._environment(), capture_output=True, text=True, timeout=120, check=False
        )
        self.printed += done.stdout + done.stderr
        assert done.returncode == 0, f"{block} ended with {done.returncode}:\n{self.printed}"

    def _start(self, block: Block, folder: Path, ready: int) -> None:
        daemon = subprocess.Popen(
            [BASH, "-c", self._translated(block.text)],
            cwd=folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._daemons.append((folder, daemon))
        assert daemon.stdout is not None
        for line in daemon.stdout:
            self.printed += line
            ready -= bool(READY.search(line))
            if ready == 0:
                break
        assert ready == 0, f"{block} did not become ready:\n{self.printed}"
        reader = threading.Thread(target=self._read, args=(daemon,))
        reader.start()
        self._readers.append(reader)

    def _read(self, daemon: subprocess.Popen[str]) -> None:
        assert daemon.stdout is not None
        with daemon.stdout as lines:
            for line in lines:
                self.printed += line


@contextlib.contextmanager
def walk(root: Path, *documents: str, hosts: tuple[str, ...] = ()) -> Iterator[str]:
    """Follows documents, one after the other on the same machines, and gives everything that was printed."""
    walking = Walk(root, hosts)
    try:
        for document in documents:
            walking.follow(ROOT / document)
        yield walking.printed
    finally:
        walking.end()


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])
