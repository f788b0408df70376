"""Copies of the model."""

import shutil
from collections.abc import Sequence
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.errors import FederationError
from openfl_like.events.callbacks.base import ResultsFolder
from openfl_like.events.callbacks.save import csv_rows
from openfl_like.federation.announcements import Announced, RoundFinished
from openfl_like.tensors.manifest import file_digest

COLUMNS = ("round", "digest", "file")


@dataclass(kw_only=True, config=ConfigDict(extra="forbid"))
class ModelCopies:
    """Copy the global model of every so many rounds as a safetensors file; checkpoints.csv tells which there are.

    The record keeps the newest models only (``model_store.keep``). Where it has let go of one before it could be
    copied, as quick simulations do, the row has no file; with ``keep: all``, none is missed.

    Attributes:
        every: After so many rounds.
    """

    every: Annotated[int, Field(ge=1)] = 10

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._due: dict[int, str] = {}
        self._rows: dict[int, tuple[int, str, str]] = {}

    def take(self, events: Sequence[Announced]) -> None:
        """Note whose model is to be copied."""
        for event in events:
            told = event.announcement
            if isinstance(told, RoundFinished) and told.round % self.every == 0:
                self._due[told.round] = told.digest

    def write(self, folder: ResultsFolder) -> None:
        """Copy the models that are due."""
        if not self._due and self._rows:
            return
        for number, digest in self._due.items():
            name = f"model-{number:04d}.safetensors"
            copied = _copied(folder, number, name, digest)
            self._rows[number] = (number, digest, name if copied else "")
        self._due.clear()
        rows = [self._rows[number] for number in sorted(self._rows)]
        folder.replace("checkpoints.csv", csv_rows([COLUMNS, *rows]))

    def finish(self, folder: ResultsFolder) -> None:
        """Do nothing: the files are complete after each `write`."""


def _copied(folder: ResultsFolder, number: int, name: str, digest: str) -> bool:
    """Copy a model, and look whether it was that of the round to the end; a former process may have done it."""
    target, part = folder.directory / name, folder.part(name)
    try:
        if target.exists() and file_digest(target) == digest:
            return True
        shutil.copyfile(folder.experiment.model(number), part)
        if file_digest(part) != digest:
            return False
        folder.place(name)
    except (FileNotFoundError, FederationError):
        return False
    finally:
        part.unlink(missing_ok=True)
    return True
