"""Work that is given out piece by piece to several threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Job: TypeAlias = Callable[[], None]
Executor: TypeAlias = Callable[[Job, int], None]
"""Runs the job on up to so many threads, all of which take from the same heap of spans, and waits for them."""


def inline(job: Job, most: int) -> None:  # noqa: ARG001 - an executor of one
    """Run the job on the calling thread."""
    job()


class Spans:
    """What is left to be done, given out one by one; nothing more when somebody has failed."""

    def __init__(self, count: int) -> None:
        self._left = iter(range(count))
        self._failed = False

    def __iter__(self) -> Iterator[int]:
        # Threads share this iterator of the built-in range, and each next() is one step of the interpreter.
        while not self._failed and (index := next(self._left, None)) is not None:
            yield index

    @contextmanager
    def stopping_others(self) -> Iterator[None]:
        """Let no thread go on when the block fails."""
        try:
            yield
        except BaseException:
            self._failed = True
            raise
