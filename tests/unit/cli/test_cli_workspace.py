import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openfl_like.cli.simulate import simulate
from openfl_like.cli.workspace import workspace


def run(*words: str) -> Result:
    return CliRunner().invoke(workspace, list(words), standalone_mode=False)


@pytest.mark.sklearn
def test_what_was_created_can_be_simulated_exported_and_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("create", "mine", "-t", "numpy_breast_cancer").exception is None
    there = {path.name for path in Path("mine").iterdir()}
    assert {"plan.yaml", "src", "requirements.txt", "shard.yaml"} <= there
    monkeypatch.chdir(tmp_path / "mine")
    words = ["plan.yaml", "-s", "aggregator.settings.rounds_to_train=1", "--json"]
    simulated = CliRunner().invoke(simulate, words, standalone_mode=False)
    assert simulated.exception is None
    assert json.loads(simulated.stdout.splitlines()[-1])["status"] == "FINISHED"
    exported = json.loads(run("export", "--json").stdout)["data"]
    assert exported["file"] == "breast_cancer.tar"
    assert "in the archive: the plan and " in run("export", "-o", "other.tar").stderr
    imported = json.loads(run("import", "breast_cancer.tar", "../theirs", "--json").stdout)["data"]
    assert imported["plan"] == exported["plan"]


def test_every_command_has_an_example() -> None:
    for words in ([], ["create"], ["templates"], ["export"], ["import"]):
        assert "Example: fx workspace" in run(*words, "--help").stdout
