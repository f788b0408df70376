"""Names of a model's tensors that do not depend on what else a process has built."""

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"(_\d+)+$")
_AGAIN = "\0"  # sets a path that comes again apart from all that can be written


def stable_names(paths: Sequence[str]) -> list[str]:
    """Number the parts of paths anew, in the order in which they come.

    A framework that counts its layers over the whole process calls the first one of a model ``dense_7``. Every part
    loses its number and gets one again if another part of that name came before beside it: the first stays ``dense``,
    the second becomes ``dense_1``.

    Args:
        paths: Of all tensors of a model, such as ``dense_7/kernel``, in the model's order.

    Returns:
        As many different names.
    """
    renamed: dict[str, str] = {"": ""}
    counts: dict[tuple[str, str], int] = {}
    names: list[str] = []
    for index, path in enumerate(paths):
        parent = ""
        unique = path if path not in paths[:index] else f"{path}{_AGAIN}{index}"
        for part in unique.split("/"):
            place = f"{parent}/{part}"
            if place not in renamed:
                base = _NUMBER.sub("", part.partition(_AGAIN)[0])
                number = counts.get((parent, base), 0)
                counts[parent, base] = number + 1
                renamed[place] = f"{renamed[parent]}/{base}" + (f"_{number}" if number else "")
            parent = place
        names.append(renamed[parent].removeprefix("/"))
    return names
