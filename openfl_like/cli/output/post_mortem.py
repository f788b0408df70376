"""Python's debugger, opened where something went wrong."""

import pdb


def post_mortem(site: str, error: Exception) -> None:
    """Open the debugger at the line that raised what an error of a site came from; return when it is left."""
    origin = error.__cause__ or error
    print(f"*** site '{site}': {error}")  # noqa: T201 (where the debugger prints)
    pdb.post_mortem(origin.__traceback__)
