"""Experiments as a user sees them: submit, follow, fetch; what breaks with a connection is asked again."""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from openfl_like.api import reconnect
from openfl_like.authoring.models import INITIAL_MODEL, prepare_given_models, prepare_initial_model
from openfl_like.errors import PlanError
from openfl_like.federation.announcements import Announced
from openfl_like.federation.history.metrics import MetricRecord, metric_records
from openfl_like.federation.history.rounds import RoundRecord, round_records
from openfl_like.federation.parties import ExperimentRecord, ExperimentSummary, LogLines, LogQuery, RemovedExperiment
from openfl_like.federation.ports import Submission
from openfl_like.pki.files import Credentials
from openfl_like.pki.signing import sign_bundle
from openfl_like.plan.bundles.bundle import pack
from openfl_like.plan.bundles.packing import Packing
from openfl_like.plan.evaluation import evaluation_of, place_of
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.members import workspace_parts
from openfl_like.plan.mistakes import dotted
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import find_plan
from openfl_like.tensors.manifest import manifest_of
from openfl_like.wire.director import DirectorClient
from openfl_like.wire.experiments import EVERY_LINE, ExperimentsClient


@dataclass(frozen=True, slots=True)
class Experiments:
    """What a user does with the experiments of one Director.

    Args:
        client: The Director's service.
        credentials: The user's; submissions are signed with them.
        director: The Director itself.
    """

    client: ExperimentsClient
    credentials: Credentials
    director: DirectorClient

    async def submit(
        self,
        plan: str | Path,
        overrides: Sequence[str] = (),
        *,
        initial_model: str | Path | None = None,
        evaluate: Mapping[str, str | Path] | None = None,
        on_packed: Callable[[Packing], None] | None = None,
    ) -> ExperimentSummary:
        """Check a plan, pack its workspace, sign it and queue it.

        If the answer is lost, the same request is repeated for a minute: it never makes two experiments.

        Args:
            plan: The plan file, or the name of an installed plan.
            overrides: Changes like ``deadline.train_s=30``.
            initial_model: A model to start from: ``.safetensors``, ``.npz``, ``.pt`` or ``.keras``. It is converted on
                this machine and goes with the workspace.
            evaluate: Name -> model file of the same kinds. Then nothing is trained: these models are sent to every
                site, which evaluates each with the plan's validations, see `evaluation_of`; `evaluations.matrix` has
                the result.
            on_packed: Called with what travels, before anything is sent; what it raises ends the submission.

        Raises:
            PlanError: If the plan has mistakes, or names code that the Director does not run.
            TensorError: If the initial model, or a file to evaluate, cannot be read.
            BundleError: If the workspace cannot be packed, or is too large with the models.
            UnreachableError: If the Director does not answer.
        """
        if evaluate is None:  # then nothing of a round is made
            await refuse_parts(self.director, await asyncio.to_thread(load_plan, find_plan(str(plan)), overrides))
        with tempfile.TemporaryDirectory(prefix="fx-submit-") as directory:
            bundle = Path(directory) / "bundle.tar"
            packing = await asyncio.to_thread(pack_submission, plan, overrides, initial_model, evaluate, bundle)
            if on_packed is not None:
                on_packed(packing)
            manifest = await asyncio.to_thread(manifest_of, bundle)
            signature = sign_bundle(manifest.digest, self.credentials)
            submission = Submission(secrets.token_hex(16), manifest, signature, self.credentials.chain)
            return await reconnect.retry(lambda: self.client.submit(submission, bundle), lambda: self.client.reached)

    async def list(self) -> list[ExperimentSummary]:
        """List all experiments, oldest first."""
        return await self.client.experiments()

    async def get(self, experiment: str) -> ExperimentRecord:
        """Return everything the Director tells of one experiment."""
        return await self.client.experiment(experiment)

    def watch(
        self, experiment: str, after: int = 0, *, stored: bool = False, progress: bool = False
    ) -> AsyncGenerator[ExperimentSummary | Announced]:
        """Yield history and live events until the experiment has ended; the last item is its summary.

        When the Director is away for less than a minute, it goes on after the last event as soon as that is back.

        Args:
            experiment: Which one.
            after: The sequence number of the last event that is known.
            stored: Yield only what there is by now.
            progress: Also yield how far each site's tasks are (`TaskProgressed`). These are not part of the history,
                and have the sequence number 0.
        """
        if stored:
            return self.client.watch(experiment, after, stored=True)
        watch = partial(self.client.watch, progress=True) if progress else self.client.watch
        return reconnect.watch(watch, experiment, after)

    async def rounds(self, experiment: str) -> Sequence[RoundRecord]:
        """Return the rounds that are over, with who took part and who did not, and why; the last may have FAILED."""
        items = [item async for item in self.watch(experiment, stored=True) if isinstance(item, Announced)]
        return list(round_records(items))

    async def metrics(self, experiment: str, *, per_site: bool = False) -> Sequence[MetricRecord]:
        """Return the metrics of the rounds finished by now, over all sites; or what each site reported."""
        items = [item async for item in self.watch(experiment, stored=True) if isinstance(item, Announced)]
        return metric_records(items, per_site=per_site)

    def logs(self, experiment: str, query: LogQuery = EVERY_LINE) -> AsyncGenerator[LogLines]:
        """Yield log lines; if they are followed, until the experiment has ended and everything has arrived."""
        return reconnect.follow_logs(self.client.logs, experiment, query)

    async def cancel(self, experiment: str) -> ExperimentSummary:
        """End an experiment; answer when it has ended."""
        return await self.client.cancel(experiment)

    async def resume(self, experiment: str) -> ExperimentSummary:
        """Queue an experiment again that FAILED or was CANCELLED; it goes on after its last finished round.

        Raises:
            ConflictError: If it is queued, running or FINISHED.
        """
        return await self.client.resume(experiment)

    async def remove(self, experiment: str) -> RemovedExperiment:
        """Remove an experiment that has ended from the Director: record, models, logs and bundle.

        Raises:
            ConflictError: If it has not ended.
        """
        return await self.client.remove(experiment)

    async def model(self, experiment: str, which: str, path: str | Path) -> Path:
        """Fetch the ``best`` or ``last`` model, or that of a round number, as a safetensors file."""
        await self.client.model(experiment, which, Path(path))
        return Path(path)


async def refuse_parts(director: DirectorClient, plan: Plan) -> None:
    """Refuse a plan with parts of a round from the workspace, before it is packed, if the Director runs none.

    Raises:
        PlanError: Listing them.
        UnreachableError: If the Director does not answer.
    """
    found = workspace_parts(plan)
    if found and not (await director.server_info()).workspace_parts:
        raise PlanError(
            "the plan names code of the workspace for parts of a round, and this Director runs none",
            cure="have whoever runs it write 'referee: process' into director.yaml; see docs/workspace-parts.md",
            problems=tuple(f"{dotted(part.path)}: {part.template}" for part in found),
        )


def pack_submission(
    plan: str | Path,
    overrides: Sequence[str],
    initial_model: str | Path | None,
    evaluate: Mapping[str, str | Path] | None,
    bundle: Path,
) -> Packing:
    """Write the bundle of a submission; see `Experiments.submit`.

    Args:
        plan: The plan file, or the name of an installed plan.
        overrides: Changes of it.
        initial_model: A model to start from.
        evaluate: Name -> model file, where nothing is trained.
        bundle: The archive; what is converted goes into its folder.
    """
    path = find_plan(str(plan))
    checked = load_plan(path, overrides)
    given = {name: Path(file) for name, file in (evaluate or {}).items()}
    agreed = evaluation_of(checked, list(given)) if evaluate is not None else checked
    workspace, directory = workspace_of(path, checked), bundle.parent
    prepared = prepare_given_models(given, checked, workspace, directory)
    added = {place_of(name): file for name, file in prepared.items()}
    if initial_model is not None:
        agreed = prepare_initial_model(Path(initial_model), agreed, workspace, directory)
        added[INITIAL_MODEL] = directory / INITIAL_MODEL
    return pack(workspace, agreed, bundle, added)
