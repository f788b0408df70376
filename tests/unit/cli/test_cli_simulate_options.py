"""What ``fx simulate`` refuses before it does anything."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from openfl_like.cli.simulate import simulate
from openfl_like.errors import ConflictError, FederationError, UsageError
from openfl_like.plan.load import load_plan
from openfl_like.services.daemon.lock import only_one
from openfl_like.services.simulation import Simulation, SimulationSettings
from openfl_like.testing.stores import memory_stores

OBEDIENT = Path(__file__).parents[2] / "assets" / "obedient"
PLAN = str(OBEDIENT / "plan.yaml")


def refusal(*words: str) -> FederationError:
    result = CliRunner().invoke(simulate, [PLAN, *words], standalone_mode=False)
    assert isinstance(result.exception, FederationError), result.exception
    return result.exception


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".keras"])
def test_a_model_is_not_written_under_the_suffix_of_another_format(tmp_path: Path, suffix: str) -> None:
    told = refusal("-o", str(tmp_path / f"model{suffix}"))
    assert suffix in told.message
    assert f"fx model export FILE -o model{suffix}" in told.cure
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--directory", "-o"])
def test_an_empty_path_is_none(option: str) -> None:
    result = CliRunner().invoke(simulate, [PLAN, option, ""])
    assert result.exit_code == 2
    assert "the path is empty" in result.output


@pytest.mark.parametrize("name", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_ranks_do_not_each_run_the_whole(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "4")
    assert "mpiexec has started 4" in refusal().message


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--pdb", "--runtime", "process"), "--pdb"),
        (("--sandbox",), "--sandbox"),
        (("--workers", "2"), "--workers"),
        (("--runtime", "process", "--worker-gpus", "1"), "--worker-gpus"),
    ],
)
def test_options_that_a_runtime_cannot_go_by(words: tuple[str, ...], told: str) -> None:
    assert told in refusal(*words).message


@pytest.mark.parametrize(
    "words",
    [("-o", "model.safetensors"), ("--directory", "record"), ("--runtime", "process"), ("--pdb",), ("--sandbox",)],
)
def test_options_that_a_dry_run_does_not_go_by_are_not_ignored(words: tuple[str, ...]) -> None:
    long = "--output" if words[0] == "-o" else words[0]
    assert refusal("--dry-run", *words).message == f"a dry run does not go by {long}"


def test_a_limit_is_for_dry_runs() -> None:
    assert refusal("--limit", "3").cure == "add --dry-run, or leave it out"


def settings(directory: Path) -> SimulationSettings:
    return SimulationSettings(load_plan(OBEDIENT / "plan.yaml"), OBEDIENT, {}, directory, kept=True)


def test_one_simulation_keeps_a_record_at_a_time(tmp_path: Path) -> None:
    with (
        only_one(tmp_path / "record", "simulation"),
        pytest.raises(ConflictError, match="another simulation uses this directory"),
    ):
        Simulation(settings(tmp_path / "record"), memory_stores()).__enter__()


def test_a_record_that_cannot_be_kept_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="the record cannot be kept: Not a directory"):
        Simulation(settings(tmp_path / "file" / "record"), memory_stores()).__enter__()
