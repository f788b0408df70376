"""The files of an experiment's directory: models, spool, logs, bundle.

<directory>/bundle.tar  plan.json  experiment.db  models/v0003.safetensors  models/v0003.state.safetensors
spool/0003-train-<site>.safetensors  spool/0003-<site>.decoded  logs/<source>.log
"""

import os
import re
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from openfl_like.errors import DamagedError, FederationError, NotFoundError
from openfl_like.failpoints import failpoint
from openfl_like.federation.parties import PublishedVersion
from openfl_like.federation.task import Phase
from openfl_like.tensors.manifest import Manifest, manifest_of, manifest_path

RESULTS = "results"
"""In the directory of an experiment: what its callbacks have written, each in a folder of its own."""
_MODEL, _STATE = re.compile(r"v(\d+)\.safetensors"), re.compile(r"v(\d+)\.state\.safetensors")


@dataclass(frozen=True, slots=True)
class ExperimentFiles:
    """Names and life of the files of one experiment."""

    directory: Path

    def prepare(self) -> None:
        """Make the directories."""
        for name in ("models", "spool", "logs"):
            (self.directory / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def bundle(self) -> Path:
        """The workspace bundle as it was submitted."""
        return self.directory / "bundle.tar"

    @property
    def plan(self) -> Path:
        """The frozen plan."""
        return self.directory / "plan.json"

    def log(self, source: str) -> Path:
        """The log of a site or role."""
        return self.directory / "logs" / f"{source}.log"

    def model(self, round_number: int) -> Path:
        """The model that a round made."""
        return self.directory / f"models/v{round_number:04d}.safetensors"

    def models(self) -> dict[int, Path]:
        """Every model that is there, by its round."""
        return self._by_round(_MODEL)

    def server_state(self, round_number: int) -> Path:
        """What rule and server optimizer keep after a round, beside its model; it need not exist."""
        return self.directory / f"models/v{round_number:04d}.state.safetensors"

    def server_states(self) -> dict[int, Path]:
        """Every state of the server that is there, by its round."""
        return self._by_round(_STATE)

    def _by_round(self, form: re.Pattern[str]) -> dict[int, Path]:
        paths = sorted((self.directory / "models").iterdir())
        return {int(match[1]): path for path in paths if (match := form.fullmatch(path.name))}

    def update(self, round_number: int, phase: Phase, collaborator: str) -> Path:
        """The update of a collaborator in the spool."""
        return _update(self.directory, round_number, phase, collaborator)

    def carry(self, round_from: int, round_to: int) -> None:
        """Give an unchanged model, and the server's state beside it, the name of a later round; no bytes are copied."""
        target, state = self.model(round_to), self.server_state(round_to)
        target.unlink(missing_ok=True)
        os.link(self.model(round_from), target)
        state.unlink(missing_ok=True)  # of a model that was made in that round and rejected
        if self.server_state(round_from).exists():
            os.link(self.server_state(round_from), state)

    def recyclable(self, name: str) -> Path:
        """A file that nobody needs any more and that the next one of its kind may overwrite; it need not exist.

        Overwriting costs the kernel far less than freeing pages and clearing new ones, round after round.
        """
        return self.directory / f"spool/spare-{name}"

    def clear_spool(self, round_number: int, *, ended: bool = False) -> None:
        """Take away the updates of a closed round and those before it; they become their collaborators' spares.

        Args:
            round_number: The round.
            ended: Whether no more files will come: then the spares go, too.
        """
        for path in sorted((self.directory / "spool").iterdir()):
            number = path.name.partition("-")[0]
            if not (number.isdecimal() and int(number) <= round_number):
                continue
            if path.suffix == ".safetensors":
                retire(path, self.recyclable(path.stem.split("-", 2)[2]))
            else:
                path.unlink(missing_ok=True)  # what was decoded; a manifest went with its file, which comes before it
        if ended:
            for path in (self.directory / "spool").glob("spare-*"):
                path.unlink()

    def retain(self, rounds: Iterable[int], newest: int) -> None:
        """Remove the models of all rounds up to the newest but these, and the server's states beside them."""
        keep = set(rounds)
        for name, there in (("model", self.models()), ("state", self.server_states())):
            for number, path in there.items():
                if number <= newest and number not in keep:
                    retire(path, self.recyclable(name))

    def remove_unfinished(self) -> None:
        """Remove model files that a process has begun and was killed over: one is as large as a model."""
        for folder in ("models", "spool"):
            for path in (self.directory / folder).glob(".*.tmp"):
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the whole directory."""
        shutil.rmtree(self.directory, ignore_errors=True)


def decoded_update(files: ExperimentFiles, round_number: int, collaborator: str) -> Path:
    """The model that a compressed update stands for; it becomes nobody's spare, which the update itself will be."""
    return files.directory / f"spool/{round_number:04d}-{collaborator}.decoded"


@lru_cache(maxsize=1024)  # asked for again and again while an update is taken, and a path costs more than it seems
def _update(directory: Path, round_number: int, phase: Phase, collaborator: str) -> Path:
    return directory / f"spool/{round_number:04d}-{phase.value}-{collaborator}.safetensors"


def make_durable(path: Path) -> None:
    """Force a file to disk, and at the same time its name."""
    with ThreadPoolExecutor(1) as beside:
        name = beside.submit(_force, path.parent)
        _force(path)
        name.result()


def _force(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        failpoint("aggregator.publish.synced")
    finally:
        os.close(descriptor)


def sync_names(*directories: Path) -> None:
    """Force the names in directories to disk; the files that have them are not looked at."""
    for directory in directories:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def retire(path: Path, recyclable: Path) -> None:
    """Keep a file that nobody needs any more as a spare, with its manifest; remove it if it has another name."""
    manifest, known = manifest_path(path), manifest_path(recyclable)
    try:
        shared = path.stat().st_nlink > 1
    except FileNotFoundError:
        return
    if shared:
        path.unlink()
        manifest.unlink(missing_ok=True)
        return
    path.replace(recyclable)
    try:
        manifest.replace(known)
    except FileNotFoundError:
        known.unlink(missing_ok=True)


def pick_version(versions: list[PublishedVersion], which: str, metric: str = "") -> PublishedVersion:
    """Find the ``best`` or ``last`` version, or that of a round number.

    Args:
        versions: All that were published, by round.
        which: ``best``, ``last`` or a round number.
        metric: By which the best one is chosen, for the message.

    Raises:
        NotFoundError: If there is none.
    """
    if which == "last" and versions:
        return versions[-1]
    if which == "best" and versions:
        best = next((item for item in reversed(versions) if item.version.best), None)
        if best is None:
            names = ", ".join(sorted({name for item in versions for name in item.version.metrics})) or "none"
            message = f"no version is the best one: no round has the metric '{metric}' (model_store.best in the plan)"
            raise NotFoundError(message, cure=f"ask for --which last or a round; the rounds have the metrics {names}")
        return best
    if which.isdecimal():
        for item in versions:
            if item.version.round == int(which):
                return item
    known = f"published so far: rounds 0 to {versions[-1].version.round}" if versions else "none is published yet"
    raise NotFoundError(f"there is no model version '{which}'", cure=f"ask for best, last or a round; {known}")


RESTORE = "put the file back from a backup, then 'fx experiment resume' goes on"


def check_file(path: Path, digest: str) -> Manifest:
    """Compare a file with its digest and return its manifest; it blocks while it reads.

    Raises:
        DamagedError: If it is another, or missing.
    """
    try:
        found = manifest_of(path)
    except FederationError as error:
        raise DamagedError("the file is damaged: it cannot be read", place=str(path), cure=RESTORE) from error
    if found.digest != digest:
        what = f"has the digest {found.digest[:12]} instead of {digest[:12]}"
        raise DamagedError(f"the file is damaged: it {what}", place=str(path), cure=RESTORE)
    return found
