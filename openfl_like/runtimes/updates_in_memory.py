"""Small updates in memory: of sites in this process, without a file; and copies of those that others have sent."""

from collections.abc import Collection
from contextlib import suppress

from openfl_like.errors import TensorError
from openfl_like.federation.task import Phase, Update
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.memory import TensorMemory
from openfl_like.tensors.memory_rows import put_together

MOST_BYTES, MOST_UPDATES = 4 << 20, 1024
"""How large one of them is at most, and how many there are."""
ALL_BYTES = 256 << 20
"""How large all of them are together, about: those of an experiment are of a size."""
COPIES_BYTES = 16 << 20
"""How large all copies of files are together."""
SMALL_BYTES = 64 << 10
"""Up to here what is done for each tensor of each update costs more than to copy them all to one place."""


class UpdatesInMemory:
    """The updates that have no file; one thread may keep them while another one looks for them.

    Args:
        files: Where they are written to.
        most_staleness: For how many rounds after its own an update may still count.
    """

    def __init__(self, files: ExperimentFiles, most_staleness: int = 0) -> None:
        self._files = files
        self._most_staleness = most_staleness
        self._updates: dict[tuple[int, Phase, str, str], TensorMemory] = {}

    def __len__(self) -> int:
        return len(self._updates)

    def keep(self, update: Update, content: TensorMemory) -> None:
        """Keep an update; when there are too many, those of former rounds go, and else all are written.

        A round begins with the model of the one before, so nobody combines that one's updates any more; rounds of a few
        milliseconds are more than are tidied up after in time.
        """
        most = min(MOST_UPDATES, ALL_BYTES // content.size_bytes)
        if len(self._updates) >= most:
            self.let_go_before(update.round - 1)
            if len(self._updates) >= most:
                self.write()
        self._updates[_key(update)] = content

    def find(self, update: Update) -> TensorMemory | None:
        """Return an update; None if it is in a file, if anywhere."""
        return self._updates.get(_key(update))

    def size_bytes(self, update: Update) -> int:
        """Return how large the file of an update is, or would be if it is here; 0 if it is gone."""
        found = self.find(update)
        if found is not None:
            return found.size_bytes
        try:
            return self._files.update(update.round, update.phase, update.collaborator).stat().st_size
        except FileNotFoundError:
            return 0

    def have(self, updates: Collection[Update]) -> bool:
        """Whether all of these are here."""
        return all(_key(update) in self._updates for update in updates)

    def put_together(self, updates: Collection[Update]) -> None:
        """Have updates that are looked at together lie side by side, if all of them are here and small."""
        keys = [_key(update) for update in updates]
        found = [content for key in keys if (content := self._updates.get(key)) is not None]
        if len(found) == len(keys) and all(content.size_bytes <= SMALL_BYTES for content in found):
            self._updates.update(zip(keys, put_together(found), strict=True))

    def write(self) -> None:
        """Write all updates into the spool; raises StorageError or OSError if there is no room, and keeps the rest."""
        for key, content in list(self._updates.items()):
            number, phase, collaborator, _ = key
            content.write(self._files.update(number, phase, collaborator))
            self._updates.pop(key, None)

    def let_go_before(self, newest: int) -> None:
        """Let those updates go that cannot count any more once this version is made."""
        self.let_go(newest - self._most_staleness)

    def let_go(self, round_number: int) -> None:
        """Let the updates of a round go, and of those before it."""
        for key in list(self._updates):
            if key[0] <= round_number:
                self._updates.pop(key, None)


class CopiesInMemory:
    """What is in the spool's files of small updates, so that no file has to be opened again to look at it."""

    def __init__(self) -> None:
        self._copies: dict[tuple[int, Phase, str, str], TensorMemory] = {}
        self._bytes = 0

    def keep(self, update: Update, content: bytes) -> None:
        """Keep what is in an update's file if there is room, and if it is a model: who opens the file says why not."""
        if self.find(update) is not None or self._bytes + len(content) > COPIES_BYTES:
            return
        with suppress(TensorError):
            self._copies[_key(update)] = TensorMemory(content)
            self._bytes += len(content)

    def find(self, update: Update) -> TensorMemory | None:
        """Return what is in an update's file; None if nobody has kept it."""
        return self._copies.get(_key(update))

    def let_go(self, round_number: int) -> None:
        """Let the copies of a round go, and of those before it."""
        self._copies = {key: copy for key, copy in self._copies.items() if key[0] > round_number}
        self._bytes = sum(copy.size_bytes for copy in self._copies.values())


def _key(update: Update) -> tuple[int, Phase, str, str]:
    return update.round, update.phase, update.collaborator, update.digest
