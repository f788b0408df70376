"""What the pixels of an image are to the model: numbers from 0 to 1, or bytes that it scales itself."""

from collections.abc import Mapping

import numpy as np

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import ShardError

_HIGHEST = {"float32": 1.0, "uint8": 255.0}


class ImageShard(ArrayShard):
    """Images of one size with a class each: samples ``[channels, height, width]``, targets int64 scalars.

    Args:
        images: Kind (``train``, ``validate``) -> images, uint8 from 0 to 255 or float32 from 0 to 1, and their classes.
        description: One paragraph for people.
        classes: How many classes there are.
        pixels: Whether samples are ``float32`` from 0 to 1, or ``uint8`` from 0 to 255, in a quarter of the memory.
        groups: Kind -> the number of whoever each image is from.

    Raises:
        ShardError: If ``pixels`` is neither.
    """

    def __init__(
        self,
        images: Mapping[str, Dataset],
        description: str,
        classes: int,
        pixels: str,
        groups: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        check_pixels(pixels)
        super().__init__(
            {kind: Dataset(_as(data.samples, pixels), data.targets.astype(np.int64)) for kind, data in images.items()},
            description,
            sample_range=(0.0, _HIGHEST[pixels]),
            classes=classes,
            groups=groups,
        )


def check_pixels(pixels: str) -> None:
    """Check the param before anything is read; raises ShardError."""
    if pixels not in _HIGHEST:
        raise ShardError(f"pixels is '{pixels}', not float32 or uint8", cure="write pixels: float32, or leave it out")


def _as(images: np.ndarray, pixels: str) -> np.ndarray:
    if images.dtype.name == pixels:
        return images
    converted: np.ndarray
    if pixels == "uint8":
        converted = np.rint(images * 255).astype(np.uint8)
    else:
        converted = np.divide(images, np.float32(255), dtype=np.float32)
    return converted
