import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from openfl_like.cli.main import fx
from openfl_like.errors import UsageError
from openfl_like.plan.workspace import plan_path
from openfl_like.tensors.container import read_tensors, write_tensors

MODEL: dict[str, np.ndarray] = {
    "bias": np.full((), 0.5, np.float32),
    "weight": np.linspace(-1, 1, 30, dtype=np.float32),
}


def test_export_says_what_it_wrote(tmp_path: Path) -> None:
    write_tensors(tmp_path / "mine.safetensors", MODEL)
    target = tmp_path / "mine.npz"
    words = ["model", "export", str(tmp_path / "mine.safetensors"), "-o", str(target), "--json"]
    told = json.loads(CliRunner().invoke(fx, words, standalone_mode=False).stdout)["data"]
    assert (told["file"], told["tensors"], told["bytes"]) == (str(target), 2, target.stat().st_size)


@pytest.mark.tensorflow
def test_a_plan_that_fits_no_keras_file_is_told(tmp_path: Path) -> None:
    write_tensors(tmp_path / "mine.safetensors", MODEL)
    words = ["model", "export", str(tmp_path / "mine.safetensors"), "-o", str(tmp_path / "mine.keras")]
    for more in ([], ["--plan", str(plan_path("breast_cancer"))]):
        found = CliRunner().invoke(fx, [*words, *more], standalone_mode=False)
        assert isinstance(found.exception, UsageError)
    assert not (tmp_path / "mine.keras").exists()


@pytest.mark.sklearn
@pytest.mark.slow
def test_a_simulation_starts_from_a_model(tmp_path: Path) -> None:
    write_tensors(tmp_path / "mine.safetensors", MODEL)
    words = ["simulate", str(plan_path("breast_cancer")), "-s", "aggregator.settings.rounds_to_train=1"]
    initial = ["--initial-model", str(tmp_path / "mine.safetensors"), "--directory", str(tmp_path / "record")]
    found = CliRunner().invoke(fx, [*words, *initial], standalone_mode=False)
    assert found.exception is None
    first = read_tensors(tmp_path / "record" / "models" / "v0000.safetensors")
    assert {name: array.tobytes() for name, array in first.items()} == {
        name: array.tobytes() for name, array in MODEL.items()
    }
