"""What a site takes of the models that it is offered: whoever offers them may be mistaken, or mean harm."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import ModelTooLargeError, StorageError
from openfl_like.wire.transfer.chunks import part_of


@dataclass(slots=True)
class ModelBorder:
    """Decides on a model by its size, before a byte of it is stored.

    Args:
        experiment: Whose model it is.
        shard: The site's shard.yaml, which has the limit; read when the first model is offered.
    """

    experiment: str
    shard: Path
    _limit_bytes: int | None = field(default=None, init=False)

    def check(self, offered_bytes: int, path: Path, recyclable: Path) -> None:
        """Check what is offered against the site's limit and the room on its disk.

        Args:
            offered_bytes: Its size.
            path: Where it would go.
            recyclable: A file that would be overwritten.

        Raises:
            ModelTooLargeError: If it is larger than the site takes.
            StorageError: If there is no room for it now.
        """
        if self._limit_bytes is None:
            self._limit_bytes = load_shard_config(self.shard).limits.model_bytes
        if offered_bytes > self._limit_bytes:
            raise ModelTooLargeError(
                f"the model of the experiment '{self.experiment}' has {offered_bytes:,} bytes, "
                f"this site takes {self._limit_bytes:,} at most",
                cure="if it is meant to be that large, raise limits.model_gb in the site's shard.yaml",
            )
        disk = shutil.disk_usage(path.parent)
        room = disk.free + _occupied(part_of(path)) + _occupied(recyclable)
        if disk.total and offered_bytes > room:  # a file system that knows no size says 0
            raise StorageError(
                f"the model of the experiment '{self.experiment}' has {offered_bytes:,} bytes, "
                f"the disk has room for {room:,}",
                place=str(path.parent),
                cure="make room; it goes on by itself then",
            )


def _occupied(path: Path) -> int:
    """The bytes that a file takes on its disk; a file that is to be filled has less than its size says."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
