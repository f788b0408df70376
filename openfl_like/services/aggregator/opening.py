"""Open an experiment: a new one from its plan, or one that goes on from its last commit."""

from collections.abc import Collection
from pathlib import Path

from openfl_like.errors import ConflictError, SettingsError
from openfl_like.federation.announcements import ExperimentBegun, ExperimentEnded, ExperimentResumed
from openfl_like.federation.events import ResumeRequested
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.parts.source import REGISTERED, PartSource
from openfl_like.plan.digest import freeze
from openfl_like.plan.schema import Plan
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import ExperimentStore
from openfl_like.tensors.container import TensorFile, write_tensors
from openfl_like.tensors.manifest import file_digest


def open_experiment(
    experiment: str,
    plan: Plan,
    store: ExperimentStore,
    files: ExperimentFiles,
    expected: Collection[str],
    parts: PartSource = REGISTERED,
) -> Experiment:
    """Restore the experiment that the record knows, with its end taken back if it was resumed, or begin a new one.

    Raises:
        ConflictError: If the record is of another plan.
    """
    snapshot = store.snapshot()
    if snapshot is None:
        files.plan.write_bytes(freeze(plan))
        model = files.model(0)
        initial, initial_bytes = (file_digest(model), model.stat().st_size) if model.exists() else ("", 0)
        return Experiment(experiment, plan, expected, initial, initial_bytes, parts)
    if files.plan.read_bytes() != freeze(plan):
        raise ConflictError(
            "this record was made with another plan", place=str(files.directory), cure="name another --directory"
        )
    restored = Experiment.restore(plan, snapshot, [item.version for item in store.versions()], parts)
    last = store.latest(ExperimentBegun.kind, ExperimentEnded.kind, ExperimentResumed.kind)
    if last is not None and isinstance(
        last.announcement, ExperimentResumed
    ):  # until the first commit that tells of its start
        restored.handle(ResumeRequested(last.announcement.by), last.time)
    return restored


def place_initial_model(plan: Plan, workspace: Path, files: ExperimentFiles) -> None:
    """Copy the plan's initial model, if it names one, to its place as version 0.

    Raises:
        SettingsError: If the file is missing.
        TensorError: If it is malformed.
    """
    name = plan.aggregator.settings.init_state_path
    if name is None:
        return
    source = workspace / name
    if not source.is_file():
        raise SettingsError(f"there is no initial model '{name}' in the workspace", place=str(workspace))
    with TensorFile(source) as tensors:
        write_tensors(files.model(0), {name: tensors.tensor(name) for name in tensors.names})
