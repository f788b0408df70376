"""JSON that somebody else wrote: whatever a peer, a bundle or submitted code sends is read here, within bounds."""

import json
from collections.abc import Callable
from typing import Any

MOST_LEVELS = 100
"""A plan may have 64; what is deeper costs whoever copies, compares or prints it a level of the stack for each."""


def read_peer_json(
    text: str | bytes,
    longest: int,
    *,
    object_pairs_hook: Callable[[list[tuple[str, Any]]], object] | None = None,
    parse_constant: Callable[[str], object] | None = None,
    parse_float: Callable[[str], object] | None = None,
) -> Any:  # noqa: ANN401 (as of json.loads: callers look at what it is)
    """Return the value that a JSON text stands for.

    Args:
        text: What somebody else wrote.
        longest: How many bytes it may have, or characters if it is a `str`.
        object_pairs_hook: As for `json.loads`.
        parse_constant: As for `json.loads`.
        parse_float: As for `json.loads`.

    Raises:
        ValueError: If it is longer, nested deeper than anything of ours, or no JSON at all.
    """
    if len(text) > longest:
        units = "characters" if isinstance(text, str) else "bytes"
        raise ValueError(f"it has {len(text):,} {units}, the limit is {longest:,}")
    try:
        value = json.loads(
            text, object_pairs_hook=object_pairs_hook, parse_constant=parse_constant, parse_float=parse_float
        )
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if _openings(text) > MOST_LEVELS and _is_deeper(value):
        raise ValueError("it is nested too deep")
    return value


def _openings(text: str | bytes) -> int:
    if isinstance(text, str):
        return text.count("[") + text.count("{")
    return text.count(b"[") + text.count(b"{")


def _is_deeper(value: object) -> bool:
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [item for node in level for item in _inside(node)]
        if not level:
            return False
    return any(isinstance(item, list | dict) for item in level)


def _inside(node: object) -> list[object]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
