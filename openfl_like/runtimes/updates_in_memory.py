"""Small updates of sites in this process: they are in no file, unless a record is to count on them."""

from openfl_like.federation.task import Phase, Update
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.memory import TensorMemory

MOST_BYTES, MOST_UPDATES = 256 << 10, 1024
"""How large one of them is at most, and how many there are."""


class UpdatesInMemory:
    """The updates that have no file; one thread may keep them while another one looks for them.

    Args:
        files: Where they are written to.
    """

    def __init__(self, files: ExperimentFiles) -> None:
        self._files = files
        self._updates: dict[tuple[int, Phase, str, str], TensorMemory] = {}

    def __len__(self) -> int:
        return len(self._updates)

    def keep(self, update: Update, content: TensorMemory) -> None:
        """Keep an update; when there are too many, those of former rounds go, and else all are written.

        A round begins with the model of the one before, so nobody combines that one's updates any more; rounds of a few
        milliseconds are more than are tidied up after in time.
        """
        if len(self) >= MOST_UPDATES:
            self.let_go(update.round - 1)
        if len(self) >= MOST_UPDATES:
            self.write()
        self._updates[_key(update)] = content

    def find(self, update: Update) -> TensorMemory | None:
        """Return an update; None if it is in a file, if anywhere."""
        return self._updates.get(_key(update))

    def write(self) -> None:
        """Write all updates into the spool; raises StorageError or OSError if there is no room, and keeps the rest."""
        for key, content in list(self._updates.items()):
            number, phase, collaborator, _ = key
            content.write(self._files.update(number, phase, collaborator))
            self._updates.pop(key, None)

    def let_go(self, round_number: int) -> None:
        """Let the updates of a round go, and of those before it."""
        for key in list(self._updates):
            if key[0] <= round_number:
                self._updates.pop(key, None)


def _key(update: Update) -> tuple[int, Phase, str, str]:
    return update.round, update.phase, update.collaborator, update.digest
