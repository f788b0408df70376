"""Updates that other sites score: a model file for each, which is served to whoever scores it and to nobody else."""

from collections.abc import Callable
from pathlib import Path

from openfl_like.failpoints import failpoint
from openfl_like.federation.events import PlaceUpdates, UpdatesPlaced
from openfl_like.federation.task import Update
from openfl_like.runtimes.updates_in_memory import UpdatesInMemory
from openfl_like.store.files import ExperimentFiles, decoded_update
from openfl_like.tensors.encoded import Sent, write_decoded
from openfl_like.tensors.manifest import Manifest, manifest_of


class ScoredUpdates:
    """The model files of updates that are being scored, by their digests.

    Args:
        files: Of the experiment.
        in_memory: Updates that are in no file.
        sent: Says how an update that started from a model is encoded; None: it is a model file.
    """

    def __init__(
        self, files: ExperimentFiles, in_memory: UpdatesInMemory, sent: Callable[[Update, Path], Sent | None]
    ) -> None:
        self._files, self._in_memory, self._sent = files, in_memory, sent
        self._placed: dict[str, tuple[Path, Manifest]] = {}

    def place(self, command: PlaceUpdates, base: Path) -> UpdatesPlaced:
        """Have a model file for each update; one that came as a model file is that already.

        Whoever places the same updates again makes the same files. It blocks.

        Args:
            command: Which updates.
            base: The global model that they started from.

        Raises:
            TensorError: If an update cannot be read.
        """
        placed = {update.collaborator: self._place(update, base) for update in command.updates}
        self._placed = {manifest.digest: (path, manifest) for path, manifest in placed.values()}
        failpoint("aggregator.updates.placed")
        return UpdatesPlaced(command.round, {name: manifest.digest for name, (_, manifest) in placed.items()})

    def _place(self, update: Update, base: Path) -> tuple[Path, Manifest]:
        path, sent = self._files.update(update.round, update.phase, update.collaborator), self._sent(update, base)
        if sent is not None:
            decoded = decoded_update(self._files, update.round, update.collaborator)
            return decoded, write_decoded(path, sent, decoded)
        unwritten = self._in_memory.find(update)
        if unwritten is not None:
            unwritten.write(path)
        return path, manifest_of(path)

    def find(self, digest: str) -> tuple[Path, Manifest] | None:
        """Return the file of a model that is being scored; None: it is not."""
        return self._placed.get(digest)

    def clear(self) -> None:
        """Forget them: nobody scores them any more."""
        self._placed.clear()
