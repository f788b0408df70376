"""What of a workspace travels, for people: to be looked at before it is everywhere."""

from typing import TYPE_CHECKING

from openfl_like.cli.output.console import say

if TYPE_CHECKING:
    from openfl_like.plan.packing import Packing

MOST_LINES = 200


def tell_packing(packing: "Packing") -> None:
    """List the files that travel with a plan, with their sizes, and what stays at home."""
    width = len(f"{packing.total_bytes:,}")
    say(f"sent to the Director and every site: the plan and {len(packing.files)} files, {packing.total_bytes:,} bytes")
    for file in packing.files[:MOST_LINES]:
        say(f"  {file.size_bytes:>{width},}  {file.path}")
    if len(packing.files) > MOST_LINES:
        say(f"  and {len(packing.files) - MOST_LINES} more; fx workspace export --json lists all")
    tell_what_stays(packing)


def tell_what_stays(packing: "Packing") -> None:
    """Name what the code seems to want and no site will have."""
    for item in packing.at_home:
        say(f"stays at home: {item.path}, which {item.named_by} names; include: in the plan lets a file travel")
