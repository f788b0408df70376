"""What an experiment's files must be, looked at before they are used: what is damaged is refused, never guessed.

An update that is damaged is the exception: its site still has it, or trains it again to the same bytes.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from openfl_like.errors import DamagedError, FederationError
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.task import Update
from openfl_like.store.contents import put_back
from openfl_like.store.files import RESTORE, ExperimentFiles, check_file
from openfl_like.tensors.manifest import file_digest

if TYPE_CHECKING:  # the Director checks files without what an Aggregator needs to mend a round
    from openfl_like.federation.experiment import Experiment, Unpublished
    from openfl_like.runtimes.models import ModelRepository
    from openfl_like.store.ports import ExperimentProgress

log = logging.getLogger(__name__)


def put_back_files(store: "ExperimentProgress", repository: "ModelRepository", files: ExperimentFiles) -> list[Path]:
    """Write published files again that the record has and a power cut has taken, and return them; before all else.

    What a process that was killed has not finished is removed.

    The record keeps what it has of them until they are on disk.
    """
    files.remove_unfinished()
    contents = store.contents()
    repository.published.unforced |= {content.round for content in contents}
    return put_back(contents, files)


def check_models(versions: Sequence[ModelVersion], files: ExperimentFiles) -> None:
    """Compare the published models with their rows before the experiment goes on from them.

    Without the newest model it cannot go on, and without the best one not end. To go back to an older one would be to
    decide that a committed round has not been. Of the others it is said in the log.

    Raises:
        DamagedError: If the newest or the best model is damaged.
    """
    needed = {version.round for version in (*versions[-1:], *[one for one in versions if one.best][-1:])}
    there = files.models()
    for version in versions:
        if version.round in needed:
            check_file(files.model(version.round), version.digest)
        elif version.round in there and _digest(there[version.round]) != version.digest:
            log.warning("%s is damaged; nobody needs it to go on", there[version.round])


def check_server_state(experiment: "Experiment", files: ExperimentFiles) -> None:
    """Compare what rule and server optimizer have kept with the record; the newest one is what a round goes on from.

    Raises:
        DamagedError: If the newest one is damaged.
    """
    states = experiment.server_states
    for number, digest in states.items():
        if number == experiment.versions[-1].round:
            check_file(files.server_state(number), digest)
        elif _digest(files.server_state(number)) != digest:
            log.warning("%s is damaged; nobody needs it to go on", files.server_state(number))


def mend_round(experiment: "Experiment", repository: "ModelRepository", files: ExperimentFiles) -> list[str]:
    """Compare the open round's files with its state, before it goes on.

    A damaged update is forgotten, so that it is asked for again. A model that is not published yet, or what is kept
    beside it, is made again from its updates.

    Returns:
        The sites whose updates are asked for again.

    Raises:
        DamagedError: If the model has to be made again, and does not come out as the same.
    """
    lost = [update.collaborator for update in experiment.kept_updates if not _sound(update, files)]
    if lost:
        log.warning("round %d: updates in the spool are damaged, and asked for again: %s", experiment.round, lost)
        experiment.lose_updates(lost)
    made = experiment.unpublished
    if made is not None and not _made(made, files):
        log.warning("round %d: its model is damaged, and made again", made.command.round)
        _make_again(made, repository, files)
    return lost


def _made(made: "Unpublished", files: ExperimentFiles) -> bool:
    number = made.command.round
    kept = not made.server_state or _digest(files.server_state(number)) == made.server_state
    return kept and _digest(files.model(number)) == made.digest


def _make_again(made: "Unpublished", repository: "ModelRepository", files: ExperimentFiles) -> None:
    command = made.command
    path = files.model(command.round)
    broken = [update.collaborator for update in command.updates if not _sound(update, files)]
    if broken:
        sites = ", ".join(broken)
        message = f"the model is damaged, and so are the updates that it was made of: {sites}"
        raise DamagedError(message, place=str(path), cure=RESTORE)
    path.unlink(missing_ok=True)
    again = repository.aggregate(command)
    if (again.digest, again.server_state) != (made.digest, made.server_state):
        raise DamagedError(
            f"the model is damaged, and did not become {made.digest[:12]} again", place=str(path), cure=RESTORE
        )


def _sound(update: Update, files: ExperimentFiles) -> bool:
    return _digest(files.update(update.round, update.phase, update.collaborator)) == update.digest


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except FederationError:
        return ""
