"""What a worker may do with which files: enough for interpreter, packages, data and models, and nothing else."""

import hashlib
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pydantic import JsonValue

import openfl_like
from openfl_like import failpoints
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import SandboxError, SettingsError
from openfl_like.federation.devices.placement import CPU
from openfl_like.processes.sandbox.landlock import Access
from openfl_like.store.removal import remove_tree

Rule: TypeAlias = tuple[Path, Access]
_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime",
    "/etc/timezone", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/mime.types", "/etc/fonts",
    "/proc",  # of other processes only what everybody sees: Landlock guards the rest, capabilities the kernel's memory
    "/sys/devices/system", "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_GPU_DEVICES = ("nvidia*", "dri", "kfd")
_GPU_READ = ("/sys/bus", "/sys/class", "/sys/devices", "/sys/module")
_PACKAGES = {"site-packages", "dist-packages"}
_SHALLOW = Path("/tmp")  # noqa: S108 (the folder in it is made for its owner alone, and looked at)
_DEEPEST = 70
"""Bytes of a temporary folder's name that leave room for the names of sockets in it."""
_MODULES = {".py", ".pyc", ".so"}


@dataclass(frozen=True, slots=True)
class WorkerPlaces:
    """What a worker works with.

    Attributes:
        shard: The site's shard.yaml.
        directory: Its own folder.
        reads: What it is given: workspace, plan, models.
        exchanges: Folders of which its parent takes what it makes.
        device: The device that it gets.
        python: The interpreter that it is about to become; None: it is that already.
    """

    shard: Path
    directory: Path
    reads: tuple[Path, ...] = ()
    exchanges: tuple[Path, ...] = ()
    device: str = CPU
    python: Path | None = None


def temporary_of(directory: Path) -> Path:
    """Return where a worker of this folder keeps temporary files: in it, or in one of its own where that is too deep.

    Libraries make sockets there, and the name of a socket has at most 107 bytes.
    """
    inside = directory / "tmp"
    if len(os.fsencode(inside)) <= _DEEPEST:
        return inside
    return _SHALLOW / f"fx-{os.geteuid()}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}"


def make_temporary(directory: Path) -> None:
    """Make the folder of `temporary_of`.

    Raises:
        SandboxError: If there is something else, or somebody else's, under its name.
    """
    path = temporary_of(directory)
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise SandboxError("the worker's temporary folder is somebody else's", place=str(path), cure="remove it")


def remove_temporary(directory: Path) -> None:
    """Remove the folder of `temporary_of` if it is not within the worker's own, which somebody else looks after."""
    path = temporary_of(directory.resolve())
    if not path.is_relative_to(directory.resolve()):
        remove_tree(path)


def rules_of(places: WorkerPlaces, config: ShardConfig) -> tuple[Rule, ...]:
    """Return what a worker keeps of its rights, in the order of the paths.

    Raises:
        SettingsError: If a path of ``reads`` in shard.yaml is not there.
    """
    rules = {
        *_each(Access.READ, map(Path, _SYSTEM)),
        *_each(Access.DEVICE, map(Path, _DEVICES)),
        (Path("/dev/shm"), Access.NAMED),  # noqa: S108 (what processes of one worker share; names of others stay hidden)
        *_interpreter(places.python),
        *_imports(),
        *_site(places.shard, config),
        *_each(Access.READ, places.reads),
        *_each(Access.EXCHANGE, places.exchanges),
        *_each(Access.OWN, _own(places.directory)),
        *_laboratory(),
    }
    if places.device != CPU:
        devices = (path for pattern in _GPU_DEVICES for path in Path("/dev").glob(pattern))
        rules |= {*_each(Access.DEVICE, devices), *_each(Access.READ, map(Path, _GPU_READ))}
    return tuple(sorted(rule for rule in rules if os.access(rule[0], os.F_OK)))


def code_rules(further: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return the rights of a process that reads code, and what else it is given."""
    rules = {
        *_each(Access.READ, map(Path, _SYSTEM)),
        *_each(Access.DEVICE, map(Path, _DEVICES)),
        *_interpreter(None),
        *_imports(),
        *further,
    }
    return tuple(sorted(rule for rule in rules if os.access(rule[0], os.F_OK)))


def _own(directory: Path) -> Iterator[Path]:
    """The worker's own folder, and its temporary one only where that is elsewhere: a link within leads nowhere."""
    yield directory
    temporary = temporary_of(directory)
    if not temporary.is_relative_to(directory):
        yield temporary


def _each(access: Access, paths: Sequence[Path] | Iterator[Path]) -> Iterator[Rule]:
    return ((path, access) for path in paths)


def _interpreter(further: Path | None) -> Iterator[Rule]:
    """Where Python is, and what the loader finds beside it."""
    folders = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    folders |= {folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder}
    yield from _each(Access.READ, map(Path, sorted(folders)))
    if further is not None:
        home = further.parent.parent
        yield home, Access.READ
        yield further.resolve().parent.parent, Access.READ  # the interpreter that the environment was made with
        yield Path(openfl_like.__file__).parent.parent, Access.LIST  # it looks for our package there


def _imports() -> Iterator[Rule]:
    """Where modules are found; of a folder that is not made for packages, only those that are in it.

    A checkout that is installed for development has more than its package, perhaps keys.
    """
    yield Path(openfl_like.__file__).parent, Access.READ
    inside = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
    for entry in dict.fromkeys(Path(entry).resolve() for entry in sys.path if entry):
        if any(entry.is_relative_to(prefix) for prefix in inside):
            continue
        if entry.name in _PACKAGES or entry.suffix == ".zip":
            yield entry, Access.READ
        else:
            yield from _code_in(entry)


def _code_in(folder: Path) -> Iterator[Rule]:
    """The modules and packages of a folder, and the names of all else: imports have to list it."""
    if not os.access(folder, os.R_OK) or not folder.is_dir():
        return
    yield folder, Access.LIST
    for entry in folder.iterdir():
        if entry.suffix in _MODULES or (entry.is_dir() and any(entry.glob("*.py"))):
            yield entry, Access.READ


def site_paths(shard: Path, config: ShardConfig) -> tuple[Path, ...]:
    """Return the site's own file, code and data: what a shard is made of.

    Raises:
        SettingsError: If a path of ``reads`` in shard.yaml is not there.
    """
    paths = {path for path, access in _site(shard, config) if access is Access.READ}
    return tuple(sorted(path for path in paths if os.access(path, os.R_OK)))


def _site(shard: Path, config: ShardConfig) -> Iterator[Rule]:
    """The site's own file, code and data."""
    folder = shard.resolve().parent
    yield shard, Access.READ
    if ":" in config.template:
        yield from _code_in(folder)
        yield folder / config.template.partition(":")[0].partition(".")[0], Access.READ
    for text in _texts(config.params):
        named = folder / text.replace("\0", "")
        # "." and "/" are words, too; certificates often lie beside it; a link to itself is no path, and no error here
        if not folder.is_relative_to(os.path.realpath(named)):
            yield named, Access.READ
    for path in config.reads:
        found = folder / path
        if not found.exists():
            raise SettingsError(f"reads: there is no {found}", place=str(shard), cure="correct the path, or remove it")
        yield found, Access.READ


def _texts(value: JsonValue | Mapping[str, JsonValue]) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _laboratory() -> Iterator[Rule]:
    """Where tests that break processes say what is to happen, and read what did; there is none in earnest."""
    switch, record = os.environ.get(failpoints.SWITCH, ""), os.environ.get(failpoints.LANDED, "")
    if switch.startswith("@"):
        yield Path(switch[1:]).absolute().parent, Access.READ
    if switch and record:
        yield Path(record).absolute().parent, Access.EXCHANGE
