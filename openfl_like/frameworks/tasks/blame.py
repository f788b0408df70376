"""Whose line it was when the code of a workspace raised, and over which batch."""

import linecache
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from traceback import walk_tb
from types import TracebackType

from openfl_like.errors import FederationError
from openfl_like.federation.failure import MAX_NAME, FailedTaskError, Failure, FailureKind, bounded, one_line

_OURS = Path(__file__).resolve().parents[1]
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """A batch over which a step raised, without its values.

    Attributes:
        error: What was raised.
        samples: Their dtype and shape.
        targets: Their dtype and shape.
    """

    error: Exception
    samples: str
    targets: str


class Blame:
    """Turns whatever the code of a workspace raises into a `FailedTaskError` that names the innermost of its lines.

    Args:
        directory: Where the workspace is.
        failed: Gives the batch over which the platform's own training loop raised; None: there is none.

    Attributes:
        task: The task that is under way; empty: none.
    """

    def __init__(self, directory: Path, failed: Callable[[], FailedBatch | None]) -> None:
        self._directory, self._failed = directory, failed
        self.task = ""

    def __call__(self, what: str) -> "_Blamed":
        """Return a context in which errors are told so.

        Args:
            what: What is done in it.
        """
        return _Blamed(self, what)

    def failed_at(self, what: str, error: BaseException) -> FailedTaskError:
        """Return the error that says what was done when the workspace's code raised another one, and where."""
        text = f"{what} raised {type(error).__name__}: {one_line(error)}"[:_LONGEST_REASON]
        file, line = self._line_of(error)
        place = f" ({file}:{line})" if file else ""
        step = "" if self.task else what
        kind = bounded(type(error).__name__, MAX_NAME)
        failure = Failure(FailureKind.TASK, one_line(error), kind, file=file, line=line, task=self.task, step=step)
        return FailedTaskError(text + place, self._with_batch(failure, error))

    def _with_batch(self, failure: Failure, error: BaseException) -> Failure:
        """Add what the platform's own training loop was at, if that is where an error came from."""
        over = self._failed()
        if over is None or not comes_of(error, over.error):
            return failure
        call = "" if failure.file or isinstance(error, FederationError) else bounded(call_of_ours(error), MAX_NAME)
        samples, targets = (bounded(form, MAX_NAME) for form in (over.samples, over.targets))
        return replace(failure, call=call, samples=samples, targets=targets)

    def _line_of(self, error: BaseException) -> tuple[str, int]:
        place = ("", 0)
        for frame, number in walk_tb(error.__traceback__):
            file = Path(frame.f_code.co_filename)
            if file.is_relative_to(self._directory):
                place = bounded(file.relative_to(self._directory).as_posix(), MAX_NAME), number
        return place


@dataclass(slots=True)
class _Blamed:
    """See `Blame`. A class, because it is entered several times a task and a generator costs more."""

    blame: Blame
    what: str

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise what is to be told, unless whoever runs a simulation interrupts it."""
        if error is not None and not isinstance(error, KeyboardInterrupt):  # also SystemExit, and CancelledError
            raise self.blame.failed_at(self.what, error) from error


def comes_of(error: BaseException, first: BaseException) -> bool:
    """Whether an exception is another one, or was raised while that was handled."""
    current: BaseException | None = error
    while current is not None and current is not first:
        current = current.__cause__ or current.__context__
    return current is first


def call_of_ours(error: BaseException) -> str:
    """Return the innermost line of the platform's own code that an exception came through."""
    places = [(frame.f_code.co_filename, number) for frame, number in walk_tb(error.__traceback__)]
    ours = [(file, number) for file, number in places if Path(file).is_relative_to(_OURS)]
    return linecache.getline(*ours[-1]).strip() if ours else ""
