"""The experiment that a command is about, as users name it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from openfl_like.cli.options import own_certificates

if TYPE_CHECKING:
    from openfl_like.api.federation import Federation

Command = TypeVar("Command", bound=Callable[..., Any])


def id_argument(command: Command) -> Command:
    """Add ``ID`` as ``experiment_id``: an id, the beginning of one, or ``last``; see `one_experiment`."""
    return click.argument("experiment_id", metavar="ID")(command)


@contextmanager
def one_experiment(named: str, director: str, certificates: Path | None) -> "Iterator[tuple[Federation, str]]":
    """Connect as a user, and find out which of the experiments that this user may see is meant.

    Args:
        named: Its id, a beginning of it that no other has, or ``last``. A whole id is taken as it is, so that scripts
            need nothing but the call itself.
        director: ``host:port``.
        certificates: The user's; None: the only ones that there are.
    """
    from openfl_like.api.federation import Federation
    from openfl_like.api.naming import experiment_id, is_whole

    with Federation(director, own_certificates(certificates, "user")) as federation:
        yield federation, named if is_whole(named) else experiment_id(named, federation.experiments())
