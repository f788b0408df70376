"""A federation as its users see it: submit, follow, fetch; every method blocks.

The calls run on an event loop in a thread of their own, because the caller may have a running loop already, as every
notebook does.
"""

import asyncio
import secrets
import tempfile
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from openfl_like.api.checkpoints import CheckpointFiles
from openfl_like.api.envoys import EnvoyLookup
from openfl_like.api.reconnect import follow_logs, retry, watch
from openfl_like.authoring.models import INITIAL_MODEL, prepare_given_models, prepare_initial_model
from openfl_like.federation.evaluation_plan import evaluation_of, place_of
from openfl_like.federation.history.rounds import RoundRecord, round_records
from openfl_like.federation.parties import (
    DirectorStatus,
    EnvoyRecord,
    EventRecord,
    ExperimentRecord,
    ExperimentSummary,
    LogLines,
    LogQuery,
)
from openfl_like.federation.ports import Submission
from openfl_like.pki.files import load_credentials
from openfl_like.pki.signing import sign_bundle
from openfl_like.plan.bundle import pack
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.workspace import find_plan
from openfl_like.tensors.manifest import manifest_of
from openfl_like.wire.experiments import UserClient

Result = TypeVar("Result")


class Federation:
    """A connection to a Director; use it as a context manager.

    Attributes:
        checkpoints: Experiments that move from one Director to another.
        envoy: Gives everything the Director tells of one envoy: ``federation.envoy("bern")``; see `EnvoyLookup`.

    Args:
        director: ``host:port``.
        certificates: Folder of the user's certificate and key.

    Raises:
        CredentialError: If the certificate or key cannot be used.
    """

    def __init__(self, director: str, certificates: str | Path) -> None:
        self._credentials = load_credentials(Path(certificates))
        self._director = director
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fx-federation", daemon=True)
        self._thread.start()
        self._client: UserClient | None = None
        self.checkpoints = CheckpointFiles(director, self._credentials, self._run)
        self.envoy = EnvoyLookup(director, self._credentials, self._run)

    def __enter__(self) -> "Federation":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; leaving the ``with`` block does it, too."""
        if self._loop.is_closed():
            return
        if self._client is not None:
            self._run(self._client.__aexit__())
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
    ) -> ExperimentSummary:
        """Checks a plan, packs its workspace, signs it and queues it.

        If the answer is lost, the same request is repeated for a minute: it never makes two experiments.

        Args:
            plan: The plan file, or the name of an installed plan.
            overrides: Changes like ``deadline.train_s=30``.
            initial_model: A model to start from: ``.safetensors``, ``.npz``, ``.pt`` or ``.keras``. It is converted on
                this machine and goes with the workspace.
            evaluate: Name -> model file of the same kinds. Then nothing is trained: these models are sent to every
                site, which evaluates each with the plan's validations, see `evaluation_of`; `evaluations.matrix` has
                the result.

        Raises:
            PlanError: If the plan has mistakes.
            TensorError: If the initial model, or a file to evaluate, cannot be read.
            BundleError: If the workspace cannot be packed, or is too large with the models.
            UnreachableError: If the Director does not answer.
        """
        path = find_plan(str(plan))
        checked = load_plan(path, overrides)
        given = {name: Path(file) for name, file in (evaluate or {}).items()}
        agreed = evaluation_of(checked, list(given)) if evaluate is not None else checked
        with tempfile.TemporaryDirectory(prefix="fx-submit-") as directory:
            bundle, workspace = Path(directory) / "bundle.tar", workspace_of(path, checked)
            prepared = prepare_given_models(given, checked, workspace, Path(directory))
            added = {place_of(name): file for name, file in prepared.items()}
            if initial_model is not None:
                agreed = prepare_initial_model(Path(initial_model), agreed, workspace, Path(directory))
                added[INITIAL_MODEL] = Path(directory) / INITIAL_MODEL
            pack(workspace, agreed, bundle, added)
            manifest = manifest_of(bundle)
            signature = sign_bundle(manifest.digest, self._credentials)
            submission = Submission(secrets.token_hex(16), manifest, signature, self._credentials.chain)
            client = self._connected()
            return self._run(retry(lambda: client.submit(submission, bundle), lambda: client.reached))

    def experiments(self) -> list[ExperimentSummary]:
        """Lists all experiments, oldest first."""
        return self._run(self._connected().experiments())

    def experiment(self, experiment: str) -> ExperimentRecord:
        """Gives everything the Director tells of one experiment."""
        return self._run(self._connected().experiment(experiment))

    def watch(
        self, experiment: str, after: int = 0, *, stored: bool = False
    ) -> Iterator[ExperimentSummary | EventRecord]:
        """Gives history and live events until the experiment has ended; the last item is its summary.

        When the Director is away for less than a minute, it goes on after the last event as soon as that is back.

        Args:
            experiment: Which one.
            after: The sequence number of the last event that is known.
            stored: Give only what there is by now.
        """
        if stored:
            return self._iterate(self._connected().watch(experiment, after, stored=True))
        return self._iterate(watch(self._connected().watch, experiment, after))

    def rounds(self, experiment: str) -> Iterator[RoundRecord]:
        """Gives the rounds that an experiment has finished by now, with who took part and who did not, and why."""
        yield from round_records(item for item in self.watch(experiment, stored=True) if isinstance(item, EventRecord))

    def logs(
        self,
        experiment: str,
        source: str = "",
        *,
        role: str = "",
        follow: bool = False,
        after: Mapping[str, int] | None = None,
    ) -> Iterator[LogLines]:
        """Gives the log lines of one site (or ``aggregator``), or of all.

        Args:
            experiment: Which one.
            source: Only this site, or ``aggregator``.
            role: Only of this one of `LOG_ROLES`.
            follow: Go on until the experiment has ended and everything that belongs to it has arrived; from where it
                was, when the Director is away for less than a minute.
            after: Source -> the ``position`` of the last lines that are known.
        """
        query = LogQuery(source, role, follow, after or {})
        return self._iterate(follow_logs(self._connected().logs, experiment, query))

    def cancel(self, experiment: str) -> ExperimentSummary:
        """Ends an experiment; answers when it has ended."""
        return self._run(self._connected().cancel(experiment))

    def resume(self, experiment: str) -> ExperimentSummary:
        """Queues an experiment again that FAILED or was CANCELLED; it goes on after its last finished round.

        Raises:
            ConflictError: If it is queued, running or FINISHED.
        """
        return self._run(self._connected().resume(experiment))

    def model(self, experiment: str, which: str, path: str | Path) -> Path:
        """Fetches the ``best`` or ``last`` model, or that of a round number, as a safetensors file."""
        target = Path(path)
        self._run(self._connected().model(experiment, which, target))
        return target

    def envoys(self) -> list[EnvoyRecord]:
        """Lists the roster."""
        return self._run(self._connected().envoys())

    def status(self) -> DirectorStatus:
        """Says how the Director is."""
        return self._run(self._connected().status())

    def _connected(self) -> UserClient:
        if self._client is None:

            async def connect() -> UserClient:
                return UserClient(self._director, self._credentials)

            self._client = self._run(connect())
        return self._client

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
