"""Rounds on invented data whose answers are not what they say."""

from pathlib import Path
from typing import cast

import pytest

from openfl_like.authoring.dry_run.findings import FindingKind, Findings
from openfl_like.authoring.dry_run.player import Player
from openfl_like.authoring.dry_run.rounds import Rounds
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.store.files import ExperimentFiles
from tests.unit.authoring.dry_run.known import kinds, plan_with, site


class Liar:
    """Answers that it has made a model, and writes something else, or nothing."""

    there = True
    name = "a"

    def __init__(self, folder: Path, content: bytes | None) -> None:
        (self.kind,) = kinds(plan_with(), [site("a")])
        self._folder, self._content = folder, content

    def place(self, assignment: Assignment, again: str = "") -> Path:
        """See `Player`."""
        return self._folder / f"{assignment.phase}{again}"

    async def perform(self, assignment: Assignment, model: Path | None, again: str = "") -> Update:
        """See `Player`."""
        del model
        if self._content is not None:
            self.place(assignment, again).write_bytes(self._content)
        return Update(assignment.round, assignment.phase, self.name, "ab" * 32, 1)

    def peak_bytes(self) -> int:
        """See `Player`."""
        return 0


@pytest.mark.parametrize(
    ("content", "said"), [(None, "there is no file of it"), (b"no model", "its model file is damaged: ")]
)
async def test_an_initial_model_that_is_none_is_a_finding(tmp_path: Path, content: bytes | None, said: str) -> None:
    files, findings = ExperimentFiles(tmp_path / "experiment"), Findings()
    files.prepare()
    steps = await Rounds(plan_with(), files, [cast("Player", Liar(tmp_path, content))], findings).run()
    (found,) = findings.sorted()
    assert (found.kind, found.phase, found.sites) == (FindingKind.UPDATE_REFUSED, Phase.INITIALISE, ("a",))
    assert found.said.startswith(said)
    assert steps.rounds == 0
