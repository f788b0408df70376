"""What disks do to files: cuts, changed bits, lost pages. One seed decides where."""

import random
from enum import StrEnum
from pathlib import Path

PAGE_BYTES = 4096


class Damage(StrEnum):
    """A kind of damage.

    Attributes:
        FLIP: One bit is another one.
        CUT: The file ends early.
        ZEROS: A page was never written.
        EMPTY: The file is there, and nothing is in it.
    """

    FLIP = "flip"
    CUT = "cut"
    ZEROS = "zeros"
    EMPTY = "empty"


def damage(path: Path, kind: Damage, seed: int) -> str:
    """Damage a file in place and say what was done.

    Args:
        path: The file; its other names (hard links) are damaged, too.
        kind: How.
        seed: Decides where; the same gives the same.

    Raises:
        ValueError: If the file is empty: there is nothing to be damaged.
    """
    size = path.stat().st_size
    if not size:
        raise ValueError(f"{path} is empty")
    place = random.Random(f"{kind} {seed}").randrange(8 * size)  # noqa: S311 (whoever has the seed must get the same)
    offset = place // 8
    with path.open("r+b") as file:
        match kind:
            case Damage.EMPTY:
                file.truncate(0)
            case Damage.CUT:
                file.truncate(offset)
            case Damage.FLIP:
                file.seek(offset)
                (byte,) = file.read(1)
                file.seek(offset)
                file.write(bytes([byte ^ (1 << place % 8)]))
            case Damage.ZEROS:
                offset -= offset % PAGE_BYTES
                file.seek(offset)
                file.write(bytes(min(PAGE_BYTES, size - offset)))
    return f"{path.name}: {kind} at byte {offset} of {size} (seed {seed})"
