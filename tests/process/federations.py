"""A federation of real processes for the tests of this folder."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
from pace import late, limit

from openfl_like.api.reconnect import Watched, watch
from openfl_like.errors import UnreachableError
from openfl_like.federation.announcements import Announced, fields_of
from openfl_like.federation.parties import ExperimentSummary, LogQuery
from openfl_like.federation.ports import Submission
from openfl_like.pki.files import Credentials, load_credentials
from openfl_like.pki.signing import sign_bundle
from openfl_like.plan.bundles.bundle import pack
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.processes.child import clean_environment, fx_command
from openfl_like.services.local_federation import LocalFederation, role_of
from openfl_like.tensors.manifest import manifest_of
from openfl_like.testing.gate import Gate
from openfl_like.wire.channel import backoff
from openfl_like.wire.client import director_peer
from openfl_like.wire.director import DirectorClient
from openfl_like.wire.envoys import EnvoysClient
from openfl_like.wire.experiments import ExperimentsClient

ASSETS = Path(__file__).parent.parent / "assets"
OBEDIENT = ASSETS / "obedient"
PLAN = OBEDIENT / "plan.yaml"


def shards(**sites: str) -> dict[str, Path]:
    """Site name (``_`` for ``-``) -> a shard file of the obedient workspace."""
    return {name.replace("_", "-"): OBEDIENT / "shards" / f"{file}.yaml" for name, file in sites.items()}


THREE = shards(site_1="site-1", site_2="site-2", site_3="site-3")


def gate_of(sites: Iterable[str] = THREE) -> Gate:
    """The gate of an experiment that runs the plan of the obedient workspace; it is shut."""
    return Gate(load_plan(PLAN).seed, sites)


class User:
    """What a test asks a Director, with the waits it needs.

    Args:
        federation: A started federation.
        scratch: Where bundles are packed.
        credentials: Whose it is; None: the federation's first user.
    """

    def __init__(self, federation: LocalFederation, scratch: Path, credentials: Credentials | None = None) -> None:
        self._credentials = credentials or load_credentials(federation.user_certificates)
        peer = director_peer(federation.director, self._credentials)
        self.client = ExperimentsClient(peer)
        self.envoys = EnvoysClient(peer)
        self.director = DirectorClient(peer)
        self._scratch = scratch
        self._count = 0

    async def submit(self, plan: Path = PLAN, *overrides: str, request_id: str = "") -> str:
        """Submits a plan and gives the experiment's id."""
        checked = load_plan(plan, overrides)
        self._count += 1
        bundle = self._scratch / f"bundle-{self._count}.tar"
        pack(workspace_of(plan, checked), checked, bundle)
        manifest = manifest_of(bundle)
        signature = sign_bundle(manifest.digest, self._credentials)
        request = request_id or f"{self._count:016x}"
        submission = Submission(request, manifest, signature, self._credentials.chain)
        return (await self.client.submit(submission, bundle)).id

    async def watch(self, experiment: str, after: int = 0) -> AsyncIterator[Watched]:
        """Follows an experiment, from a Director that may only just be listening."""
        async for _ in backoff():
            with suppress(UnreachableError):
                async for item in late(watch(self.client.watch, experiment, after)):
                    after = item.sequence if isinstance(item, Announced) else after
                    yield item
                return

    async def ended(self, experiment: str, timeout_s: float = 60) -> ExperimentSummary:
        """Waits for the end of an experiment."""
        last = None
        async with asyncio.timeout(limit(timeout_s)):
            async for item in self.watch(experiment):
                last = item
        assert isinstance(last, ExperimentSummary)
        return last

    async def until(self, experiment: str, kind: str, after: int = 0, **fields: object) -> Announced:
        """Waits for an event with these fields; what it says may be long over, unless a gate holds the round."""
        async with asyncio.timeout(limit(60)):
            async for item in self.watch(experiment, after):
                if not isinstance(item, Announced) or item.kind != kind:
                    continue
                if fields.items() <= fields_of(item.announcement).items():
                    return item
        raise AssertionError(f"{experiment} ended without {kind} {fields}")

    async def events(self, experiment: str) -> list[Announced]:
        """Gives the whole history of an ended experiment."""
        return [item async for item in self.watch(experiment) if isinstance(item, Announced)]


@asynccontextmanager
async def federation_of(
    sites: Mapping[str, Path],
    directory: Path,
    sample_shape: Sequence[int] = (1,),
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, object] | None = None,
    more_shards: Mapping[str, Sequence[Path]] | None = None,
) -> AsyncIterator[tuple[LocalFederation, User]]:
    """Starts a federation and a user of it; ends it, and checks that no process is left."""
    local = LocalFederation(
        directory / "federation",
        sites,
        sample_shape,
        (),
        environment=environment or {},
        settings=settings or {},
        more_shards=more_shards or {},
    )
    async with local:
        user = User(local, directory)
        family = [psutil.Process(child.process.pid) for child in local.children.values()]
        async with user.client:
            yield local, user
        everybody = [child for parent in family for child in _family(parent)]
    _, alive = psutil.wait_procs([*everybody, *_within(directory)], timeout=limit(10))
    assert alive == []


def workers(federation: LocalFederation, site: str) -> list[psutil.Process]:
    """The worker processes of a site that have an experiment."""
    found = _descendants(federation, site, "openfl_like.processes.worker")
    return [process for process in found if role_of(process) == "worker"]


def spare_workers(federation: LocalFederation, site: str) -> list[psutil.Process]:
    """The worker processes of a site that wait for an experiment."""
    found = _descendants(federation, site, "openfl_like.processes.worker")
    return [process for process in found if not role_of(process) and "--spare" in process.cmdline()]


def collaborators(federation: LocalFederation, site: str) -> list[psutil.Process]:
    """The collaborator processes of a site."""
    return _descendants(federation, site, "collaborator")


async def another(find: Callable[[], list[psutil.Process]], former: psutil.Process | None) -> psutil.Process:
    """Waits until there is a process that is not the former one."""
    async with asyncio.timeout(limit(30)):
        while True:
            for process in find():
                if process != former:
                    return process
            await asyncio.sleep(0.05)


def _descendants(federation: LocalFederation, site: str, word: str) -> list[psutil.Process]:
    envoy = psutil.Process(federation.children[site].process.pid)
    found = []
    for child in _family(envoy):
        with suppress(psutil.Error):  # it has ended meanwhile
            if word in child.cmdline():
                found.append(child)
    return found


def _family(parent: psutil.Process) -> list[psutil.Process]:
    try:
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _within(directory: Path) -> list[psutil.Process]:
    """Every process that works below a directory, whoever its parent is now."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(directory):
                found.append(process)
    return found


async def run_fx(
    *words: str,
    federation: LocalFederation | None = None,
    cwd: Path | None = None,
    line: str = "",
    limit_s: float = 100.0,
) -> tuple[int, str, str]:
    """Runs a command of ``fx`` to its end, or kills it, and gives exit code, stdout and stderr.

    Args:
        words: The command.
        federation: Its Director, and its user's certificate, are found by the command.
        cwd: Where it runs.
        line: What it reads from standard input.
        limit_s: When it is killed.
    """
    found: dict[str, str] = {}
    if federation is not None:
        found = {"FX_DIRECTOR": federation.director, "FX_CERTIFICATES": str(federation.user_certificates)}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *fx_command(*words), stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env=clean_environment(found)
    )
    try:
        async with asyncio.timeout(limit(limit_s)):
            out, err = await process.communicate(line.encode())
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return process.returncode or 0, out.decode(), err.decode()


async def fx_fine(*words: str, federation: LocalFederation | None = None, cwd: Path | None = None) -> str:
    """Runs a command that must succeed, and gives its stdout."""
    code, out, err = await run_fx(*words, federation=federation, cwd=cwd)
    assert code == 0, err
    return out


def site_of(directory: Path, lines: str = "") -> Path:
    """Makes the folder of a site with a shard of the obedient workspace and further lines; gives its shard file."""
    directory.mkdir(exist_ok=True)
    shutil.copyfile(OBEDIENT / "shards" / "one_number.py", directory / "one_number.py")
    shard = directory / "shard.yaml"
    shard.write_text((OBEDIENT / "shards" / "site-1.yaml").read_text() + lines)
    return shard


async def log_with(user: User, experiment: str, word: str) -> str:
    """The logs of an experiment up to where they have a word, which may come after its end."""
    text = ""
    async with asyncio.timeout(limit(60)):
        async for part in user.client.logs(experiment, LogQuery(follow=True)):
            text += "\n".join((*part.lines, ""))
            if word in text:
                return text
    raise AssertionError(f"the logs of {experiment} have no {word!r}:\n{text}")
