"""A plan and its workspace: mistakes, files, packages, and one training and evaluation on a shard."""

import asyncio
import importlib.metadata
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.authoring.estimate import measure
from openfl_like.authoring.models import first_shard
from openfl_like.authoring.requirements import SOURCE_NAME
from openfl_like.data.shard_file import load_shard_config
from openfl_like.doctor.checks import Check, Deferred
from openfl_like.doctor.finding import Finding, Verdict, fine, refusal, warning
from openfl_like.errors import FederationError, TaskError
from openfl_like.plan.bundles.bundle import pack
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.lock import LOCK_NAME, read_lock
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import find_plan
from openfl_like.services.daemon.thread import in_thread
from openfl_like.services.director.settings import DirectorFile, check_plan_here

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?(?:==(?P<version>[A-Za-z0-9.!+_]+))?")


@dataclass(slots=True)
class Study:
    """The checks of a plan.

    Args:
        plan_name: A file, or the name of a ready-made plan.
        limit_s: How long one training and one evaluation may take.
        overrides: Changes of the plan.
        shard: A site's shard.yaml to try it with; None: that of the first site that is simulated.
        settings: The Director's, if they are here.
    """

    plan_name: str
    limit_s: float
    overrides: Sequence[str] = ()
    shard: Path | None = None
    settings: Deferred[DirectorFile] | None = None
    plan: Deferred[Plan] = field(init=False)
    workspace: Deferred[Path] = field(init=False)

    def __post_init__(self) -> None:
        self.plan = Deferred("plan", lambda: in_thread(lambda: load_plan(find_plan(self.plan_name), self.overrides)))
        self.workspace = Deferred("workspace", self._find)

    def checks(self) -> list[Check]:
        """Return the checks."""
        return [
            Check("plan", self._plan),
            Check("workspace", self._workspace, 30.0),
            Check("packages", self._packages),
            Check("trial", self._trial, self.limit_s + 15),
        ]

    async def _plan(self) -> Finding:
        plan = await self.plan.get()
        if self.settings is not None:
            check_plan_here(plan, await self.settings.given())
        return fine("plan", f"{self.plan_name}: no mistakes")

    async def _find(self) -> Path:
        plan = await self.plan.given()
        return await in_thread(lambda: workspace_of(find_plan(self.plan_name), plan))

    async def _workspace(self) -> Finding:
        plan, workspace = await self.plan.given(), await self.workspace.get()
        size = await in_thread(lambda: _packed(plan, workspace))
        return fine("workspace", f"{workspace}: a bundle of {size:,} bytes")

    async def _packages(self) -> Finding:
        workspace = await self.workspace.given()
        return await in_thread(lambda: packages(workspace, self.shard))

    async def _trial(self) -> Finding:
        plan, workspace = await self.plan.given(), await self.workspace.given()
        try:
            async with asyncio.timeout(self.limit_s):
                seen = await _tried(plan, workspace, self.shard)
        except TimeoutError:
            cause = "one pass over this shard takes longer; no mistake has shown until then"
            cure = "give --limit SECONDS, or try it with a small shard (--shard)"
            return warning("trial", f"it was not over within {self.limit_s:g} s", cause, cure)
        except TaskError as error:
            cause = (
                "code of the workspace raised: it needs a package that is not here, or expects other shapes or classes "
                "than the shard has"
            )
            cure = "correct the line that is named; docs/frameworks.md says what a task runner is given"
            return refusal("trial", error, cause, error.cure or cure)
        return fine("trial", seen)


def _packed(plan: Plan, workspace: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="fx-doctor-") as scratch:
        bundle = Path(scratch) / "bundle.tar"
        pack(workspace, plan, bundle)
        return bundle.stat().st_size


async def _tried(plan: Plan, workspace: Path, given: Path | None) -> str:
    """Have a worker train and evaluate on a shard, and say on which, and how large the model's file is."""
    with tempfile.TemporaryDirectory(prefix="fx-doctor-") as scratch, tempfile.TemporaryDirectory() as folder:
        shard = given if given is not None else await in_thread(lambda: first_shard(workspace, plan, Path(folder)))
        sizes = await measure(plan, workspace, shard, Path(scratch))
        made = shard.is_relative_to(folder)
    on = f"the part '{shard.stem}' that the plan makes" if made else shard
    return f"trains and evaluates on {on}; the model's file has {sizes.model:,} bytes"


def packages(workspace: Path, shard: Path | None) -> Finding:
    """Look whether what a workspace asks for is installed here.

    Args:
        workspace: With ``requirements.lock`` or ``requirements.txt``, or neither.
        shard: The site's shard.yaml, which may allow that the lock is installed.
    """
    lock, source = workspace / LOCK_NAME, workspace / SOURCE_NAME
    if lock.is_file() and _installs(shard):
        count = len(read_lock(lock.read_bytes(), str(lock)))
        return fine("packages", f"{count} of {LOCK_NAME} are installed when an experiment needs them")
    if not lock.is_file():
        return _unlocked(source, workspace)
    problems = tuple(_missing(read_lock(lock.read_bytes(), str(lock))))
    if not problems:
        return fine("packages", f"what {LOCK_NAME} names is installed")
    cause = "the environment in which this runs was made without them"
    cure = "pip install them here, or have the site install a lock by hash (docs/environments.md)"
    return _packages(f"{len(problems)} of {LOCK_NAME} are missing or of another version", cause, cure, problems)


def _unlocked(source: Path, workspace: Path) -> Finding:
    """Look at a workspace that has no lock: sites install nothing then, whatever its requirements are."""
    if not source.is_file():
        return fine("packages", f"the workspace has neither {LOCK_NAME} nor {SOURCE_NAME}")
    problems = tuple(_missing(source.read_text(encoding="utf-8").splitlines()))
    seen = f"there is {SOURCE_NAME}, but no {LOCK_NAME} beside it: no site installs anything"
    if not problems:
        return fine("packages", f"{seen}; what it names is installed here ('fx workspace lock' makes a lock)")
    cause = f"{SOURCE_NAME} is for people: sites install what a lock names, by its hashes, and nothing else"
    cure = f"fx workspace lock {workspace}; without it, every site must have the packages already"
    return _packages(f"{seen}; {len(problems)} of it are missing here or of another version", cause, cure, problems)


def _packages(seen: str, cause: str, cure: str, problems: tuple[str, ...]) -> Finding:
    return Finding("packages", Verdict.WARN, seen, cause, cure, problems)


def _installs(shard: Path | None) -> bool:
    if shard is None:
        return False
    try:
        return load_shard_config(shard).environment.install_requirements
    except FederationError:
        return False  # told by the shard's own check


def _missing(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        found = _REQUIREMENT.match(line.strip())
        if found is None:
            continue
        try:
            version = importlib.metadata.version(found["name"])
        except importlib.metadata.PackageNotFoundError:
            yield f"{found['name']} is not installed"
            continue
        if found["version"] and found["version"] != version:
            yield f"{found['name']} is {version}, not {found['version']}"
