"""Environments with the packages that workspaces ask for, apart from the Envoy's own, which nothing here changes.

A virtual environment for each set of requirements: exact wheels by hash, nothing is built and nothing of them is run
while they are installed. Behind them the worker finds the packages of the Envoy. See docs/design/0013-environments.md.
"""

import asyncio
import contextlib
import importlib.util
import json
import logging
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import openfl_like
from openfl_like import __version__
from openfl_like.data.policy import EnvironmentPolicy
from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import RequirementsError
from openfl_like.plan.lock import LOCK_NAME, read_lock
from openfl_like.processes.child import clean_environment, spawn
from openfl_like.processes.ownership import owner_tag
from openfl_like.tasks import TaskOwner

log = logging.getLogger(__name__)
PACKAGES = Path(openfl_like.__file__).resolve().parent.parent
PREPARE_S = 900.0
LAST_LINES = 5
_READY = "ready.json"
_TAG = "import sys; print(sys.implementation.cache_tag)"
_OURS = "import openfl_like; print(openfl_like.__version__)"

OnLine = Callable[[str], None]


@dataclass(slots=True)
class _Building:
    """A preparation that is under way, and who is told of it."""

    task: asyncio.Task[Path]
    listeners: list[OnLine]


@dataclass(slots=True)
class Environments:
    """The prepared environments of an Envoy; each is made once, and kept.

    Args:
        directory: Where they are.
        prepare_s: Seconds that making one may take.
    """

    directory: Path
    prepare_s: float = PREPARE_S
    _building: dict[str, _Building] = field(default_factory=dict)
    _tasks: TaskOwner = field(default_factory=TaskOwner)

    async def provide(self, workspace: Path, shard: Path, on_line: OnLine) -> Path | None:
        """Return the interpreter for a workspace's code; None: this very one.

        Who is cancelled over it does not stop a preparation: the next submission finds it further on, or done.

        Args:
            workspace: The unpacked bundle.
            shard: The site's shard.yaml, which decides.
            on_line: Told what is done, for the submitter.

        Raises:
            RequirementsError: If the site wants to install the requirements and cannot; with the last lines of pip.
            SettingsError: If shard.yaml has mistakes.
        """
        lock = workspace / LOCK_NAME
        if not lock.is_file():
            return None
        policy = (await asyncio.to_thread(load_shard_config, shard)).environment
        if not policy.install_requirements:
            on_line(
                f"{LOCK_NAME} is not installed: environment.install_requirements of this site's shard.yaml is false"
            )
            return None
        requirements = read_lock(lock.read_bytes())
        if not requirements:
            return None
        builder = _EnvironmentBuild(requirements, _absolute(policy, shard.parent), self.directory)
        if builder.ready():
            on_line(f"environment {builder.key[:12]}: prepared before")
            return builder.interpreter
        building = self._building.get(builder.key)
        if building is None:
            building = self._begin(builder, on_line)
        else:
            on_line(f"environment {builder.key[:12]}: is being prepared already")
            building.listeners.append(on_line)
        try:
            return await asyncio.shield(building.task)
        finally:
            building.listeners.remove(on_line)

    async def close(self) -> None:
        """Break off what is being prepared."""
        await self._tasks.close()

    def _begin(self, builder: "_EnvironmentBuild", on_line: OnLine) -> _Building:
        listeners = [on_line]

        def tell(line: str) -> None:
            for listener in listeners:
                listener(line)

        building = _Building(self._tasks.start(builder.build(tell, self.prepare_s)), listeners)
        self._building[builder.key] = building
        building.task.add_done_callback(lambda done: self._built(builder.key, done))
        return building

    def _built(self, key: str, task: asyncio.Task[Path]) -> None:
        self._building.pop(key, None)
        if not task.cancelled() and task.exception() is not None:  # whoever waits is told; nobody may be waiting
            log.warning("environment %s: %s", key[:12], task.exception())


def _absolute(policy: EnvironmentPolicy, base: Path) -> EnvironmentPolicy:
    """Paths of a file are relative to it."""
    base = base.resolve()
    places = {key: base / value for key in ("wheelhouse", "python") if (value := getattr(policy, key)) is not None}
    return policy.model_copy(update=places)


class _EnvironmentBuild:
    """Makes one environment."""

    def __init__(self, requirements: Sequence[str], policy: EnvironmentPolicy, directory: Path) -> None:
        self._requirements = requirements
        self._policy = policy
        self._on_line: OnLine = log.debug
        self._directory = directory
        self._python = str(policy.python or sys.executable)
        basis = [*requirements, self._python, sys.version, __version__, *_own_folders()]
        self.key = sha256(json.dumps(basis).encode()).hexdigest()
        self._home = directory / self.key[:32]

    @property
    def interpreter(self) -> Path:
        """The worker's interpreter."""
        return self._home / "bin" / "python"

    def ready(self) -> bool:
        """Whether it was made before, to its end."""
        return (self._home / _READY).exists() and self.interpreter.exists()

    async def build(self, on_line: OnLine, limit_s: float) -> Path:
        """Make it within so many seconds and return its interpreter; what is not finished is removed."""
        self._on_line = on_line
        began = asyncio.get_running_loop().time()
        self._on_line(f"environment {self.key[:12]}: preparing {len(self._requirements)} packages")
        try:
            async with asyncio.timeout(limit_s):
                await self._build()
        except TimeoutError:
            await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)
            raise RequirementsError(f"preparing the environment took longer than {limit_s:g} s") from None
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)
            raise
        took_s = asyncio.get_running_loop().time() - began
        self._on_line(f"environment {self.key[:12]}: ready after {took_s:.1f} s")
        return self.interpreter

    async def _build(self) -> None:
        if importlib.util.find_spec("pip") is None:
            cure = f"install pip beside the Envoy: {sys.executable} -m ensurepip"
            raise RequirementsError("the Envoy's environment has no pip", cure=cure)
        if self._policy.wheelhouse is not None and not self._policy.wheelhouse.is_dir():
            raise RequirementsError("there is no such wheelhouse", place=str(self._policy.wheelhouse))
        await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        shared = await self._says(self._python, "-I", "-c", _TAG) == sys.implementation.cache_tag
        alone = [] if shared else ["--system-site-packages"]
        await self._run(
            "the environment cannot be made", self._python, "-m", "venv", "--without-pip", *alone, str(self._home)
        )
        if not shared and await self._says(str(self.interpreter), "-I", "-c", _OURS) != __version__:
            cure = f"install it there, or name a Python {sys.version_info.major}.{sys.version_info.minor}"
            raise RequirementsError(f"it has no openfl_like {__version__}", place=self._python, cure=cure)
        lock = self._home / LOCK_NAME
        lock.write_text("\n".join(self._requirements) + "\n", encoding="ascii")
        await self._run("the requirements cannot be installed", *self._pip(lock))
        if shared:
            self._link()
        (self._home / _READY).write_text(json.dumps({"requirements": list(self._requirements)}), encoding="utf-8")

    def _pip(self, lock: Path) -> list[str]:
        house = self._policy.wheelhouse
        source = ["--no-index", "--find-links", str(house)] if house is not None else []
        return [
            sys.executable, "-P", "-m", "pip", "--python", str(self.interpreter),
            "--no-input", "--disable-pip-version-check", "--cache-dir", str(self._directory / "cache"),
            "install", "--progress-bar", "off", "--no-deps", "--ignore-installed",
            "--only-binary", ":all:", "--require-hashes", *source, "-r", str(lock),
        ]  # fmt: skip

    def _link(self) -> None:
        """Let the interpreter find the Envoy's packages after its own."""
        folder = Path(sysconfig.get_path("purelib", vars={"base": str(self._home)}))
        lines = [f"import site; site.addsitedir({path!r})" for path in _own_folders()]
        (folder / "openfl_like_envoy.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")

    async def _run(self, failure: str, *command: str) -> None:
        """Run a program; raises RequirementsError with its last lines if it fails."""
        both = ("/bin/sh", "-c", 'exec "$@" >&2 </dev/null', "sh", *command)  # stdout is part of the log, too
        environment = clean_environment(owner_tag(self._directory))
        child = await spawn(both, on_line=self._on_line, cwd=self._directory, environment=environment)
        try:
            code = await child.wait()
        except BaseException:
            await child.stop(grace_s=0.0)
            raise
        if code:
            last = [line for line in child.tail if line.strip() and "[notice]" not in line][-LAST_LINES:]
            raise RequirementsError(f"{failure}: {' | '.join(last) or f'exit code {code}'}")

    async def _says(self, *command: str) -> str:
        try:
            child = await spawn(command, cwd=self._directory, environment=clean_environment(owner_tag(self._directory)))
        except OSError as error:
            raise RequirementsError(f"it cannot be started: {error.strerror}", place=command[0]) from error
        try:
            return (await child.line()).strip()
        finally:
            with contextlib.suppress(ProcessLookupError):
                await child.stop(grace_s=0.0)


def _own_folders() -> list[str]:
    """Where this process finds its packages.

    Left out are the standard library, which every interpreter brings itself, and the folder that Python adds for how it
    was started, which is the present one or that of the script.
    """
    passing = {Path.cwd(), Path(sys.executable).parent, Path(sys.argv[0]).absolute().parent}
    library = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    without = passing | library | {path / "lib-dynload" for path in library}
    folders = [Path(entry).resolve() for entry in sys.path if entry]
    found = [path for path in folders if path.is_dir() and path not in without]
    return [str(path) for path in dict.fromkeys([*found, PACKAGES])]
