"""Made-up images and text, so that every model can be tried before there is any data."""

from collections.abc import Sequence

import numpy as np

from openfl_like.data.shard import ArrayShard, Dataset

_SHARED = 20


class MadeImages(ArrayShard):
    """Images of as many patterns of 4 x 4 squares as there are classes, under noise: samples float32 from 0 to 1.

    Args:
        site: The number of the site, from 1.
        shape: Channels, height and width.
        classes: How many classes there are.
        samples: How many images the site trains on; a quarter as many are held out.
    """

    def __init__(self, site: int = 1, shape: Sequence[int] = (3, 32, 32), classes: int = 10, samples: int = 80) -> None:
        coarse = np.random.default_rng(_SHARED).random((classes, shape[0], 4, 4))  # the same at every site
        patterns = coarse[:, :, np.arange(shape[1]) * 4 // shape[1]][..., np.arange(shape[2]) * 4 // shape[2]]
        own = np.random.default_rng(site)
        targets = np.arange(samples + max(classes, samples // 4)) % classes
        images = 0.7 * patterns[targets] + 0.3 * own.random((len(targets), *shape))
        parts = {"train": slice(0, samples), "validate": slice(samples, None)}
        super().__init__(
            {kind: Dataset(images[part].astype(np.float32), targets[part]) for kind, part in parts.items()},
            f"Made-up images of {classes} patterns, site {site}.",
            sample_range=(0.0, 1.0),
            classes=classes,
        )


class MadeText(ArrayShard):
    """Lines of a made-up language, in which each letter is mostly followed by one of two: which, a site cannot choose.

    Samples are letters by their numbers, int64 ``[length]``; targets are the letters that follow each, of the same
    shape.

    Args:
        site: The number of the site, from 1.
        letters: How many letters there are.
        length: How many letters a line has.
        samples: How many lines the site trains on; a quarter as many are held out.
    """

    def __init__(self, site: int = 1, letters: int = 26, length: int = 80, samples: int = 80) -> None:
        following = np.random.default_rng(_SHARED).integers(0, letters, (letters, 2))  # the same at every site
        own = np.random.default_rng(site)
        lines = np.empty((samples + samples // 4, length + 1), np.int64)
        lines[:, 0] = own.integers(0, letters, len(lines))
        for place in range(length):
            usual = following[lines[:, place], own.integers(0, 2, len(lines))]
            lines[:, place + 1] = np.where(own.random(len(lines)) < 0.9, usual, own.integers(0, letters, len(lines)))
        parts = {"train": lines[:samples], "validate": lines[samples:]}
        super().__init__(
            {kind: Dataset(part[:, :-1].copy(), part[:, 1:].copy()) for kind, part in parts.items()},
            f"A made-up language of {letters} letters, site {site}.",
            sample_range=(0.0, letters - 1.0),
            classes=letters,
        )
