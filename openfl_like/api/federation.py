"""A federation as its users see it, blocking: submit, follow, fetch.

The calls run on an event loop in a thread of their own, because the caller may have a running loop already, as every
notebook does. Programs with a loop of their own use `openfl_like.api.client`.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Protocol, Self, TypeVar

from openfl_like.api.checkpoints import CheckpointFiles
from openfl_like.api.client import AsyncFederation, Connect, connect
from openfl_like.federation.announcements import Announced
from openfl_like.federation.history.rounds import RoundRecord
from openfl_like.federation.parties import (
    DirectorStatus,
    EnvoyDetail,
    EnvoyRecord,
    ExperimentRecord,
    ExperimentSummary,
    LogLines,
    LogQuery,
    RemovedExperiment,
)
from openfl_like.pki.files import load_credentials
from openfl_like.plan.bundles.packing import Packing

Result = TypeVar("Result")


class Run(Protocol):
    """Runs a coroutine to its end from any thread."""

    def __call__(self, work: Coroutine[Any, Any, Result], /) -> Result:
        """Return its result."""


class BlockingCheckpoints:
    """Fetches and delivers checkpoints; part of a `Federation`.

    Args:
        files: Returns the same for programs with an event loop; called when it is needed.
        run: Where they run.
    """

    def __init__(self, files: Callable[[], CheckpointFiles], run: Run) -> None:
        self._files, self._run = files, run

    def fetch(self, experiment: str, path: str | Path) -> Path:
        """As `CheckpointFiles.fetch`."""
        return self._run(self._files().fetch(experiment, path))

    def results(self, experiment: str, folder: str | Path) -> list[Path]:
        """As `CheckpointFiles.results`."""
        return self._run(self._files().results(experiment, folder))

    def deliver(self, path: str | Path) -> ExperimentSummary:
        """As `CheckpointFiles.deliver`."""
        return self._run(self._files().deliver(path))


class Federation:
    """A connection to a Director; use it as a context manager.

    Args:
        director: ``host:port``.
        certificates: Folder of the user's certificate and key.
        connection: How the connection is made.

    Attributes:
        checkpoints: Experiments that move from one Director to another.

    Raises:
        CredentialError: If the certificate or key cannot be used.
    """

    def __init__(self, director: str, certificates: str | Path, connection: Connect = connect) -> None:
        self._director, self._credentials = director, load_credentials(Path(certificates))
        self._connection = connection
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fx-federation", daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self._opened: AsyncFederation | None = None
        self.checkpoints: Final = BlockingCheckpoints(lambda: self._client.checkpoints, self._run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; leaving the ``with`` block does it, too."""
        if self._loop.is_closed():
            return
        self._run(self._stack.aclose())
        self._run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def submit(
        self,
        plan: str | Path,
        overrides: Sequence[str] = (),
        *,
        initial_model: str | Path | None = None,
        evaluate: Mapping[str, str | Path] | None = None,
        on_packed: Callable[[Packing], None] | None = None,
    ) -> ExperimentSummary:
        """Check a plan, pack its workspace, sign it and queue it; see `Experiments.submit`."""
        submit = self._client.experiments.submit
        return self._run(submit(plan, overrides, initial_model=initial_model, evaluate=evaluate, on_packed=on_packed))

    def experiments(self) -> list[ExperimentSummary]:
        """List all experiments, oldest first."""
        return self._run(self._client.experiments.list())

    def experiment(self, experiment: str) -> ExperimentRecord:
        """Return everything the Director tells of one experiment."""
        return self._run(self._client.experiments.get(experiment))

    def watch(
        self, experiment: str, after: int = 0, *, stored: bool = False, progress: bool = False
    ) -> Iterator[ExperimentSummary | Announced]:
        """Yield history and live events until the experiment has ended; see `Experiments.watch`."""
        return self._iterate(self._client.experiments.watch(experiment, after, stored=stored, progress=progress))

    def rounds(self, experiment: str) -> Iterator[RoundRecord]:
        """Yield the rounds that are over, with who took part and who did not, and why; the last may have FAILED."""
        yield from self._run(self._client.experiments.rounds(experiment))

    def logs(
        self,
        experiment: str,
        source: str = "",
        *,
        role: str = "",
        follow: bool = False,
        after: Mapping[str, int] | None = None,
    ) -> Iterator[LogLines]:
        """Yield the log lines of one site (or ``aggregator``), or of all.

        Args:
            experiment: Which one.
            source: Only this site, or ``aggregator``.
            role: Only of this one of `LOG_ROLES`.
            follow: Go on until the experiment has ended and everything that belongs to it has arrived; from where it
                was, when the Director is away for less than a minute.
            after: Source -> the ``position`` of the last lines that are known.
        """
        query = LogQuery(source, role, follow, after or {})
        return self._iterate(self._client.experiments.logs(experiment, query))

    def cancel(self, experiment: str) -> ExperimentSummary:
        """End an experiment; answer when it has ended."""
        return self._run(self._client.experiments.cancel(experiment))

    def resume(self, experiment: str) -> ExperimentSummary:
        """Queue an experiment again that FAILED or was CANCELLED; see `Experiments.resume`."""
        return self._run(self._client.experiments.resume(experiment))

    def remove(self, experiment: str) -> RemovedExperiment:
        """Remove an experiment that has ended from the Director; see `Experiments.remove`."""
        return self._run(self._client.experiments.remove(experiment))

    def model(self, experiment: str, which: str, path: str | Path) -> Path:
        """Fetch the ``best`` or ``last`` model, or that of a round number, as a safetensors file."""
        return self._run(self._client.experiments.model(experiment, which, path))

    def envoys(self) -> list[EnvoyRecord]:
        """List the roster."""
        return self._run(self._client.envoys.envoys())

    def envoy(self, name: str) -> EnvoyDetail:
        """Return an envoy's row of the roster and what its machine told over the last hour and the last day.

        Raises:
            NotFoundError: If the Director knows none of this name; the cure lists those that it knows.
        """
        return self._run(self._client.envoys.envoy(name))

    def status(self) -> DirectorStatus:
        """Return how the Director is."""
        return self._run(self._client.director.status())

    def ask(self, question: Callable[[AsyncFederation], Coroutine[Any, Any, Result]]) -> Result:
        """Return the answer to what is asked through the client of programs with an event loop.

        Args:
            question: Such as ``lambda client: explanation_of(client, "digits-1a2b3c4d")``, or, for what has no method
                here, ``lambda client: client.experiments.metrics("digits-1a2b3c4d")``.
        """
        return self._run(question(self._client))

    @property
    def _client(self) -> AsyncFederation:
        if self._opened is None:
            opening = self._stack.enter_async_context(self._connection(self._director, self._credentials))
            self._opened = self._run(opening)
        return self._opened

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # does nothing to one that is done; an interrupted caller must not leave it behind

    def _iterate(self, stream: AsyncGenerator[Result]) -> Iterator[Result]:
        async def following() -> tuple[Result] | None:
            try:
                return (await anext(stream),)
            except StopAsyncIteration:
                return None

        try:
            while (item := self._run(following())) is not None:
                yield item[0]
        finally:
            if not self._loop.is_closed():
                self._run(stream.aclose())
