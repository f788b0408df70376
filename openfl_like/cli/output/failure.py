"""How a command's failure is told: lines for people on stderr, and with ``--json`` a document on stdout."""

from dataclasses import dataclass

import click

from openfl_like.error_meanings import MEANINGS, listed
from openfl_like.errors import FederationError, InternalError, UsageError, no_room

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class CommandFailure:
    """What programs are told of a failure; the keys of ``error`` in the document.

    Attributes:
        code: A stable code such as ``E203``; ``E000`` for an interruption.
        name: The error's class.
        message: What went wrong.
        place: Where; empty where there is none.
        cure: What to do; empty where nothing helps.
        exit_code: Of the command.
        problems: Every mistake, where there may be several.
    """

    code: str
    name: str
    message: str
    place: str = ""
    cure: str = ""
    exit_code: int = 1
    problems: tuple[str, ...] = ()


def failure_of(error: BaseException) -> CommandFailure:
    """Say what an exception means for whoever gave the command."""
    if isinstance(error, KeyboardInterrupt | click.exceptions.Abort):
        return CommandFailure(FederationError.code, "Interrupted", "the command was interrupted", exit_code=INTERRUPTED)
    if isinstance(error, click.ClickException):
        return _misused(error)
    known = no_room(error) or error
    if not isinstance(known, FederationError):
        known = InternalError(f"{type(error).__name__}: {error}", cure="run it again with --debug")
    meaning = MEANINGS.get(listed(type(known)), MEANINGS[InternalError])
    problems = tuple(getattr(known, "problems", ()))
    name = listed(type(known)).__name__
    return CommandFailure(known.code, name, known.message, known.place, known.cure, meaning.exit_code, problems)


def line_of(failure: CommandFailure) -> str:
    """Return the lines for people."""
    text = f"{failure.place}: {failure.message}" if failure.place else failure.message
    text = f"{text} ({failure.cure})" if failure.cure else text
    return "\n".join([f"Error [{failure.code}]: {text}", *(f"  - {problem}" for problem in failure.problems)])


def _misused(error: click.ClickException) -> CommandFailure:
    context = getattr(error, "ctx", None)
    path = context.command_path if isinstance(context, click.Context) else ""
    cure = f"'{path} --help' lists what it takes" if path else ""
    return CommandFailure(UsageError.code, UsageError.__name__, error.format_message(), path, cure, error.exit_code)
