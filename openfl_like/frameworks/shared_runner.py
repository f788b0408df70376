"""One task runner for all sites of a process, if it is stateless; whether it is, is tried now and then."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

from openfl_like.errors import TaskError
from openfl_like.federation.task import Assignment, Update
from openfl_like.frameworks.perform import Performer, UpdateInMemory
from openfl_like.frameworks.runner import Shard
from openfl_like.frameworks.tasks.given_model import GlobalModel
from openfl_like.tensors.container import TensorFile

MOST_LOADED = 1024
"""Of so many sites, those that have worked last, model and data are kept, unless more would change results."""
MOST_BYTES = 4 << 30
"""And of so many that their models are about as large together, were each in memory with gradients and optimizer."""
TIMES_A_MODEL = 4
Loaded = TypeVar("Loaded")


class LoadedSites(Generic[Loaded]):
    """What a process keeps of the sites that it works for: of those that have worked last, so that memory is bounded.

    Args:
        most: Of so many sites; None: of all.
        in_a_row: Makes what assignments are performed in that follow one another, of sites that are loaded.
    """

    def __init__(
        self, most: int | None = MOST_LOADED, in_a_row: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._most = most
        self.in_a_row = in_a_row
        self._sites: dict[str, Loaded] = {}
        self._model: tuple[str, Path, TensorFile] | None = None

    def __contains__(self, site: object) -> bool:
        return site in self._sites

    def of(self, site: str, load: Callable[[], Loaded]) -> Loaded:
        """Return what is kept of a site, which is loaded if it is not.

        Args:
            site: Whose.
            load: Loads it.
        """
        loaded = self._sites.pop(site, None) or load()
        while self._most is not None and len(self._sites) >= self._most:
            self._sites.pop(next(iter(self._sites)))
        self._sites[site] = loaded  # the last one is the one that has worked last
        return loaded

    def model(self, digest: str, path: Path) -> TensorFile:
        """Return the model that the next sites begin with; it is opened once for all of them.

        Args:
            digest: Which it is.
            path: Its file.

        Raises:
            TensorError: If the file cannot be read.
        """
        if self._model is None or self._model[:2] != (digest, path):
            self._model = digest, path, TensorFile(path)
        return self._model[2]

    def bound(self, model_bytes: int) -> None:
        """Keep no more sites than there is room for, if each has a model of this size of its own."""
        if self._most is not None and model_bytes:
            self._most = max(1, min(self._most, MOST_BYTES // (TIMES_A_MODEL * model_bytes)))

    def clear(self) -> None:
        """Let all go."""
        self._sites.clear()


class ComparedPerformer:
    """A performer whose first assignment another one performs as well, with a runner that has done nothing before.

    Args:
        performer: With a runner that other sites have, too.
        witness: With a runner of its own.
    """

    def __init__(self, performer: Performer, witness: Performer) -> None:
        self._performer = performer
        self._witness: Performer | None = witness

    def perform(self, assignment: Assignment, model: GlobalModel | None, out: Path | UpdateInMemory) -> Update:
        """See `Performer.perform`; raises also TaskError if the runner is not as stateless as it says."""
        if self._witness is None:
            return self._performer.perform(assignment, model, out)
        update = self._performer.perform(assignment, model, out)
        if update.partial and not update.batches:
            return update  # how much was done by its time cannot be done again
        witness, self._witness = self._witness, None
        limit = update.batches if update.partial else assignment.batch_limit
        expected = witness.perform(replace(assignment, train_s=None, batch_limit=limit), model, out)
        alike = repr(replace(expected, duration_s=update.duration_s)) == repr(update)  # also a metric that is no number
        if not alike:
            raise TaskError(
                "the task runner says that it is stateless, but one that has worked for other sites before gives "
                "another result than one that has not",
                cure="have it and its modules keep nothing between assignments, or take stateless = True away",
            )
        return update


class SitePerformers:
    """Makes performers of sites: with one runner for all of them, if that says that it is stateless.

    Of the sites that share a runner the first, second, fourth, eighth and so on are compared with one of their own.

    Args:
        build: Makes a performer with a runner of its own, from a site's data and the folder of its state.
    """

    def __init__(self, build: Callable[[Shard, Path], Performer]) -> None:
        self._build = build
        self._first: Performer | None = None
        self._sharing = 0

    @property
    def shared(self) -> bool:
        """Whether sites share a runner, and with it a model."""
        return self._sharing > 0

    def in_a_row(self) -> AbstractContextManager[None]:
        """Keep the modules that sites share importable while several assignments are performed, not for each anew."""
        return self._first.importable() if self._first is not None and self.shared else nullcontext()

    def make(self, shard: Shard, state: Path) -> Performer | ComparedPerformer:
        """Make the performer of a site.

        Args:
            shard: The site's data.
            state: Folder for what the algorithm keeps at the site.

        Raises:
            TaskError: As `Performer`.
        """
        shared = None if self._first is None else self._first.for_site(shard, state)
        if shared is None:
            own = self._build(shard, state)
            self._first = self._first or own
            return own
        self._sharing += 1
        if self._sharing & (self._sharing - 1):  # it is no power of two
            return shared
        return ComparedPerformer(shared, self._build(shard, state))
