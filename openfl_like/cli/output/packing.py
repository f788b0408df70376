"""What of a workspace travels, for people: to be looked at before it is everywhere."""

from typing import TYPE_CHECKING

from openfl_like.cli.output.console import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openfl_like.plan.bundles.packing import Packing
    from openfl_like.plan.members import RoundPart

MOST_LINES = 200


TRAVELS = "travels to the Director and every site"


def tell_packing(packing: "Packing", where: str = TRAVELS) -> None:
    """List the files that travel with a plan, with their sizes, and what stays at home.

    Args:
        packing: What it is.
        where: Where it goes, or is.
    """
    width, count = len(f"{packing.total_bytes:,}"), len(packing.files)
    files = "1 file" if count == 1 else f"{count} files"
    say(f"{where}: the plan and {files}, {packing.total_bytes:,} bytes")
    for file in packing.files[:MOST_LINES]:
        say(f"  {file.size_bytes:>{width},}  {file.path}")
    if count > MOST_LINES:
        say(f"  and {count - MOST_LINES} more; fx workspace export --json lists all")
    tell_what_stays(packing)


def tell_parts(found: "Sequence[RoundPart]") -> None:
    """Name the parts of a round that are code of the workspace, which not every Director runs."""
    from openfl_like.plan.mistakes import dotted

    if found:
        named = ", ".join(f"{dotted(part.path)} {part.template}" for part in found)
        say(f"of the workspace, so a Director runs it only with 'referee: process': {named}")


def tell_what_stays(packing: "Packing") -> None:
    """Name what the code seems to want and no site will have."""
    for item in packing.at_home:
        say(f"stays at home: {item.path}, which {item.named_by} names; include: in the plan lets a file travel")
