"""What an algorithm keeps at its site, as files: one for each round that it trained in, until that is settled."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from openfl_like.tensors.container import read_tensors, write_tensors

log = logging.getLogger(__name__)
_SUFFIX = ".safetensors"


class SiteState:
    """The state of one algorithm in one experiment at one site.

    Whoever gives out the work says from which round's state it goes on: the last one in which this site's update became
    part of a global model. So nothing has to be committed here, and it does not matter when a process is killed: what a
    round left is found by its number, or is of a round that did not count and goes.

    Args:
        folder: Where the files are; made when there is something to keep. None: in memory only.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[int, dict[str, np.ndarray]] = {}

    def read(self, after: int) -> dict[str, np.ndarray]:
        """Return what the training of a round left, and forget that of all others.

        Args:
            after: The round; 0 for none.

        Returns:
            Its tensors; none if they are not here, which is logged.

        Raises:
            TensorError: If the file is damaged.
        """
        if self._folder is None:
            self._held = {number: state for number, state in self._held.items() if number == after}
        else:
            path = self._path(self._folder, after)
            for other in self._folder.glob(f"*{_SUFFIX}"):
                if other != path:
                    other.unlink(missing_ok=True)
        return self.look(after)

    def look(self, after: int) -> dict[str, np.ndarray]:
        """Return what `read` does, and forget nothing."""
        if self._folder is None:
            return dict(self._held.get(after, {}))
        path = self._path(self._folder, after)
        if path.exists():
            return read_tensors(path)
        if after:
            log.warning("what was kept at this site in round %d is not here (%s); it begins anew", after, path)
        return {}

    def write(self, number: int, tensors: Mapping[str, np.ndarray]) -> None:
        """Keep what the training of a round left; on disk when this returns, even if there is nothing in it."""
        if self._folder is None:
            self._held[number] = {name: np.array(array) for name, array in tensors.items()}
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_tensors(self._path(self._folder, number), tensors)

    @staticmethod
    def _path(folder: Path, number: int) -> Path:
        return folder / f"{number:06d}{_SUFFIX}"
