"""What commands print: tables or JSON on stdout, words for people on stderr.

With ``--json`` stdout has exactly one document, ``{"ok": true, "data": …}``; if the command fails, `emit_failure`
writes ``{"ok": false, "error": {…}}`` in its place. Commands that go on until something ends write a line for each
thing that happens instead, and that second document as their last line if they fail.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from openfl_like.cli.output.colours import colour_of
from openfl_like.cli.output.lent import OWN
from openfl_like.cli.output.table import GAP, broken, on_terminal, plain
from openfl_like.printable import printable, printable_line

if TYPE_CHECKING:
    from rich.console import Console

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """Add ``--json`` as the argument ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def put(text: str, *, style: str = "", hang: int | None = None) -> None:
    """Print text for people, on stdout; what sites and their code wrote into it cannot steer the terminal.

    Args:
        text: The text.
        style: What it looks like on a terminal that has colours.
        hang: On a terminal, lines are broken between words, and go on so far to the right; None: they are as long as
            they are, so that what is copied is whole.
    """
    out = OWN.out
    if (style or hang is not None) and out.isatty():
        screen = terminal(out)
        lines = printable(text) if hang is None else broken(printable(text), screen.width, hang)
        screen.print(lines, style=style, soft_wrap=True)
    else:
        click.echo(printable(text), file=OWN.lent_out)


def say(text: str, *, style: str = "", hang: int = 0) -> None:
    """Print text for people, on stderr, as harmless as that of `put`; on a terminal, lines are broken as there."""
    if sys.stderr.isatty():
        screen = terminal(sys.stderr)
        screen.print(broken(printable(text), screen.width, hang), style=style, soft_wrap=True)
    else:
        click.echo(printable(text), err=True)


def emit(value: Mapping[str, object] | Sequence[Mapping[str, object]], *, as_json: bool, title: str = "") -> None:
    """Print a result: JSON, or a table (rich on a terminal, plain lines elsewhere).

    Args:
        value: A mapping (one thing, a row per key) or a sequence of mappings with the same keys (a row each).
        as_json: Print it as the document of the command.
        title: Stands above the table.
    """
    if as_json:
        emit_line({"ok": True, "data": value})
    elif isinstance(value, Mapping):
        _print_fields(value, title)
    else:
        print_table(value, title)


def tell(text: str, value: Mapping[str, object], *, as_json: bool) -> None:
    """Say what was done: a line for people on stderr, or the document for programs."""
    if as_json:
        emit(value, as_json=True)
    else:
        say(text)


def file_facts(path: Path) -> dict[str, object]:
    """Return what is told of a file that a command has written: name, size and SHA-256 as ``sha256sum`` prints it."""
    from openfl_like.tensors.manifest import sha256_file

    return {"file": str(path), "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def emit_failure(error: Mapping[str, object]) -> None:
    """Print the document of a command that failed."""
    emit_line({"ok": False, "error": error})


def emit_line(value: Mapping[str, object]) -> None:
    """Print one JSON line, at once: for streams of events."""
    out = OWN.out
    out.write(_json(value) + "\n")
    out.flush()


def _json(value: object) -> str:
    try:
        return json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), default=str, allow_nan=False)


def _finite(value: object) -> object:
    """Put null for infinity and NaN, for which JSON has no word."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def clock(seconds: float) -> str:
    """Return a time as people read it, in UTC, of which the Z tells; empty for 0."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if seconds else ""


def hours(seconds: float) -> str:
    """Return how long something took as people read it: ``26:03:07`` is a day, two hours, three minutes and more."""
    minutes, rest = divmod(round(seconds), 60)
    whole, minutes = divmod(minutes, 60)
    return f"{whole}:{minutes:02}:{rest:02}"


def joules(energy: float) -> str:
    """Return an energy as people read it: ``426 kJ``."""
    for unit, size in (("GJ", 1e9), ("MJ", 1e6), ("kJ", 1e3)):
        if energy >= size:
            return f"{energy / size:.3g} {unit}"
    return f"{energy:.3g} J"


def shown(value: object) -> str:
    """Return a value as people read it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(shown(item) for item in value)
    if value is True or value is False:
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _print_fields(value: Mapping[str, object], title: str) -> None:
    if title:
        put(title, style="bold")
    width = max((len(key) for key in value), default=0)
    for key, item in value.items():
        text = printable_line(shown(item))
        put(f"{key:<{width}}  {text}".rstrip(), style=colour_of(text), hang=width + GAP)


def print_table(rows: Sequence[Mapping[str, object]], title: str = "") -> None:
    """Print rows with the keys of the first one as columns; on a terminal, what has no room stands below its row."""
    if not rows:
        put(f"{title}: none" if title else "none")
        return
    columns = list(rows[0])
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    if title:
        put(title, style="bold")
    screen = terminal(OWN.out) if OWN.out.isatty() else None
    if screen is None:
        put("\n".join(plain(columns, cells)))
        return
    for line in on_terminal(columns, cells, screen.width):
        screen.print(line, soft_wrap=True)


def _cell(value: object) -> str:
    return printable_line(aligned(value) if isinstance(value, float) else shown(value))


def aligned(value: float) -> str:
    """Return four digits, with the zeros at the end: figures that change do not move what is right of them."""
    return f"{value:#.4g}".removesuffix(".")


def read_together() -> bool:
    """Whether stdout and stderr go to one place, such as a terminal: who reads the one reads the other."""
    import os

    try:
        return os.path.sameopenfile(OWN.out.fileno(), sys.stderr.fileno())
    except (OSError, ValueError):  # a stream that is not a file, or is closed
        return False


def terminal(file: TextIO) -> "Console":
    """Return a stream that is a terminal as one that knows its width and colours."""
    from rich.console import Console

    return Console(file=file, markup=False, emoji=False, highlight=False)
