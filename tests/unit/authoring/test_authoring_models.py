"""Models as files of other programs: there and back, and as the start of an experiment."""

import asyncio
import errno
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import ml_dtypes
import numpy as np
import pytest

from openfl_like import registry
from openfl_like.authoring.baselines import load_shards
from openfl_like.authoring.models import (
    INITIAL_MODEL,
    export_model,
    first_shard,
    own_runner,
    prepare_given_models,
    prepare_initial_model,
)
from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import FederationError, TensorError, UsageError
from openfl_like.frameworks.formats.files import read_model, write_model
from openfl_like.plan.bundles.bundle import pack, unpack
from openfl_like.plan.load import load_plan
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import template_path
from openfl_like.services.simulation import Simulation, SimulationSettings, shards_of
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.named import OPTIMIZER
from openfl_like.testing.stores import memory_stores

pytestmark = pytest.mark.torch
WORKSPACE = template_path("numpy_breast_cancer")
RANDOM = np.random.default_rng(3)
MODEL: dict[str, np.ndarray] = {
    "layer.half": RANDOM.normal(size=(2, 3)).astype(np.float16),
    "layer.double": RANDOM.normal(size=4),
    "layer.count": np.array(2**60 + 1),
    "layer.mask": np.array([True, False]),
}
BRAIN: dict[str, np.ndarray] = {"brain": RANDOM.normal(size=3).astype(ml_dtypes.bfloat16)}
STATE = {f"{OPTIMIZER}step": np.zeros(3)}


def bits(tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (array.dtype.name, array.shape, array.tobytes()) for name, array in tensors.items()}


def breast_cancer(*overrides: str) -> Plan:
    return load_plan(WORKSPACE / "plan.yaml", ["aggregator.settings.rounds_to_train=1", *overrides])


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pt"])
def test_a_model_comes_back_bit_for_bit(suffix: str, tmp_path: Path) -> None:
    model = MODEL if suffix == "npz" else MODEL | BRAIN
    path = tmp_path / f"model.{suffix}"
    write_tensors(tmp_path / "model", {**model, **STATE})
    (tmp_path / "model").rename(tmp_path / "there.safetensors")
    assert export_model(tmp_path / "there.safetensors", path) == len(model)
    assert export_model(path, tmp_path / "back.safetensors") == len(model)
    assert bits(read_tensors(tmp_path / "back.safetensors")) == bits(dict(sorted(model.items())))


def test_the_optimizer_is_kept_on_demand(tmp_path: Path) -> None:
    write_tensors(tmp_path / "model.safetensors", {**MODEL, **STATE})
    export_model(tmp_path / "model.safetensors", tmp_path / "model.npz", with_optimizer=True)
    assert bits(read_model(tmp_path / "model.npz")) == bits(dict(sorted({**MODEL, **STATE}.items())))


def test_torch_takes_what_was_exported(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415 - by a run of its own only

    layer = torch.nn.Linear(2, 1)
    write_model(tmp_path / "model.pt", {"weight": np.ones((1, 2), np.float32), "bias": np.zeros(1, np.float32)})
    layer.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert layer(torch.ones(2)).item() == 2


class Trap:
    """Would make a file if a reader called what it names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_file_that_would_run_something_is_refused(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415 - by a run of its own only

    caught = tmp_path / "caught"
    torch.save({"weight": Trap(caught)}, tmp_path / "model.pt")
    np.savez(tmp_path / "model.npz", weight=np.array([Trap(caught)], dtype=object))
    for name in ("model.pt", "model.npz"):
        with pytest.raises(TensorError, match="this is no"):
            read_model(tmp_path / name)
    assert not caught.exists()


@pytest.mark.parametrize(
    ("name", "written", "told"),
    [
        ("model.h5", b"", "'model.h5' is not a known kind of model file"),
        ("model.keras", b"", "holds a whole model, which only its plan can build"),
        ("model.pt", b"no archive", "this is not a state dict"),
        ("model.npz", b"no archive", "this is not an archive of plain arrays"),
        ("model.safetensors", b"no", "model.safetensors"),
        ("other.npz", None, "there is no such model file"),
    ],
)
def test_what_cannot_be_read_is_told(name: str, written: bytes | None, told: str, tmp_path: Path) -> None:
    if written is not None:
        (tmp_path / name).write_bytes(written)
    with pytest.raises(FederationError, match=told):
        read_model(tmp_path / name)


def test_a_pickled_module_is_no_state_dict(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415 - by a run of its own only

    torch.save([torch.ones(2)], tmp_path / "model.pt")
    with pytest.raises(TensorError, match="holds something else than named tensors"):
        read_model(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("kind", "told", "cure"),
    [
        ("checkpoint", "a checkpoint with the keys 'epoch', 'model', whose state_dict is under 'model'", "['model']"),
        ("lightning", "whose state_dict is under 'state_dict'", "['state_dict']"),
        ("mixed", "named tensors: 'epoch' is a int", "torch.save(model.state_dict(), PATH)"),
        ("script", "this is not a state dict: the file is a program of TorchScript", "model.state_dict()"),
        ("whole", "holds objects of Python besides tensors, such as a whole model", "model.state_dict()"),
        ("older", "holds objects of Python besides tensors, such as a whole model", "model.state_dict()"),
        ("sparse", "tensor 'weight' (float32, sparse_coo) cannot be written to a model file", "persistent=False"),
        ("float8", "tensor 'weight' (float8_e4m3fn, strided) cannot be written to a model file", "another dtype"),
    ],
)
def test_files_of_torch_that_are_no_state_dict_are_called_what_they_are(
    kind: str, told: str, cure: str, tmp_path: Path
) -> None:
    import torch  # noqa: PLC0415 - by a run of its own only

    layer, path = torch.nn.Linear(2, 1), tmp_path / "model.pt"
    held = {
        "checkpoint": {"epoch": 3, "model": layer.state_dict()},
        "lightning": {"epoch": 3, "state_dict": layer.state_dict(), "loops": {}, "hyper": {"lr": 1}},
        "mixed": {**layer.state_dict(), "epoch": 3},
        "whole": layer,
        "older": layer,
        "sparse": {"weight": torch.ones(2, 2).to_sparse()},
        "float8": {"weight": torch.ones(2).to(torch.float8_e4m3fn)},
    }
    if kind == "script":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # people have such files all the same
            torch.jit.save(torch.jit.trace(layer, torch.ones(1, 2)), path)  # type: ignore[no-untyped-call]  # torch's own
    else:
        torch.save(held[kind], path, _use_new_zipfile_serialization=kind != "older")
    with pytest.raises(TensorError) as caught:
        read_model(path)
    assert told in caught.value.message
    assert cure in caught.value.cure
    assert "weights_only` argument" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.pt", "model.npz"])
@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS, not a model"),
        (b"\n<!DOCTYPE html><html>", "is a web page, not a model"),
        (b"<html><body>404", "is a web page, not a model"),
        (b"PK\x03\x04 and no end", "the file is cut off"),
    ],
)
def test_what_was_downloaded_in_place_of_a_model_is_told(name: str, written: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(written)
    with pytest.raises(TensorError, match=told) as caught:
        read_model(tmp_path / name)
    assert caught.value.cure


def test_numpy_files_do_not_take_bfloat16(tmp_path: Path) -> None:
    with pytest.raises(TensorError, match="'brain' is bfloat16") as caught:
        write_model(tmp_path / "model.npz", BRAIN)
    assert "write .pt or .safetensors" in caught.value.cure


def test_every_format_is_one_of_the_registry(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_model(tmp_path / "model", MODEL)
    assert all(f".{name}" in caught.value.cure for name in registry.names("model_format"))


def simulated(plan: Plan, place: Path, models: Path | None = None) -> dict[int, Path]:
    shards = load_shards(shards_of(WORKSPACE, plan))
    with Simulation(SimulationSettings(plan, WORKSPACE, shards, place, models), memory_stores()) as simulation:
        result = asyncio.run(simulation.run())
        assert result.outcome.status.value == "FINISHED", result.outcome.reason
    return ExperimentFiles(place).models()


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pt"])
def test_an_experiment_starts_from_a_model_of_any_kind(suffix: str, tmp_path: Path) -> None:
    given: dict[str, np.ndarray] = {
        "bias": np.full((), 0.5, np.float32),
        "weight": np.linspace(-1, 1, 30, dtype=np.float32),
    }
    source = tmp_path / f"mine.{suffix}"
    write_model(source, given)
    plan = prepare_initial_model(source, breast_cancer(), WORKSPACE, tmp_path)
    models = simulated(plan, tmp_path / "record", tmp_path)
    assert bits(read_tensors(models[0])) == bits(given)
    assert bits(read_tensors(models[1])) != bits(given)
    pack(WORKSPACE, plan, tmp_path / "bundle.tar", {INITIAL_MODEL: tmp_path / INITIAL_MODEL})
    assert unpack(tmp_path / "bundle.tar", tmp_path / "there") == plan
    assert (tmp_path / "there" / INITIAL_MODEL).read_bytes() == (tmp_path / INITIAL_MODEL).read_bytes()


def test_a_model_of_another_shape_fails_with_its_name(tmp_path: Path) -> None:
    write_model(tmp_path / "mine.npz", {"bias": np.zeros((), np.float32), "weight": np.zeros(7, np.float32)})
    plan = prepare_initial_model(tmp_path / "mine.npz", breast_cancer(), WORKSPACE, tmp_path)
    with pytest.raises(AssertionError, match=r"'weight' is float32\[7\], not float32\[30\]"):
        simulated(plan, tmp_path / "record", tmp_path)


def test_an_experiment_goes_on_with_the_optimizer_of_another(tmp_path: Path) -> None:
    shared = breast_cancer("collaborator.settings.opt_treatment=CONTINUE_GLOBAL")
    models = simulated(shared, tmp_path / "first")
    first = read_tensors(models[1])
    assert {f"{OPTIMIZER}velocity/weight", "weight"} <= first.keys()
    source = tmp_path / "first.safetensors"
    source.write_bytes(models[1].read_bytes())
    for place, plan, kept in (("shared", shared, set(first)), ("own", breast_cancer(), {"weight", "bias"})):
        (tmp_path / place).mkdir()
        prepared = prepare_initial_model(source, plan, WORKSPACE, tmp_path / place)
        assert set(read_tensors(simulated(prepared, tmp_path / place / "record", tmp_path / place)[1])) == kept


def test_a_model_without_its_optimizer_starts_with_a_new_one(tmp_path: Path) -> None:
    shared = breast_cancer("collaborator.settings.opt_treatment=CONTINUE_GLOBAL")
    given: dict[str, np.ndarray] = {"bias": np.full((), 0.5, np.float32), "weight": np.ones(30, np.float32)}
    write_model(tmp_path / "mine.pt", given)
    plan = prepare_initial_model(tmp_path / "mine.pt", shared, WORKSPACE, tmp_path)
    models = simulated(plan, tmp_path / "record", tmp_path)
    first = read_tensors(models[0])
    assert bits({name: first[name] for name in given}) == bits(given)
    assert not first[f"{OPTIMIZER}velocity/weight"].any()
    assert read_tensors(models[1])[f"{OPTIMIZER}velocity/weight"].any()


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pt"])
def test_models_to_evaluate_may_be_of_any_kind_and_lose_their_optimizer(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"mine.{suffix}"
    write_model(source, {**MODEL, **STATE})
    prepared = prepare_given_models({"mine": source}, breast_cancer(), WORKSPACE, tmp_path)
    assert bits(read_tensors(prepared["mine"])) == bits(dict(sorted(MODEL.items())))


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.npz"
    write_model(path, MODEL)
    before = path.read_bytes()

    def torn(file: BinaryIO, **_: object) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", torn)
    with pytest.raises(TensorError, match="cannot be written"):
        write_model(path, MODEL)
    assert [found.name for found in tmp_path.iterdir()] == ["model.npz"]
    assert path.read_bytes() == before


def test_the_shapes_come_from_a_shard(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no shard"), own_runner(breast_cancer(), tmp_path):
        pass


def test_the_shapes_come_from_a_site_that_the_plan_makes(tmp_path: Path) -> None:
    shutil.copytree(WORKSPACE / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    plan = breast_cancer("simulation.sites={shard: breast_cancer}")
    with own_runner(plan, tmp_path) as runner:
        assert {name: array.shape for name, array in runner.get_tensors().items()} == {"weight": (30,), "bias": ()}
    made = first_shard(tmp_path, plan, tmp_path / "written")
    assert (made.name, load_shard_config(made).template) == ("site-1.yaml", "part")


def test_no_daemon_reads_files_of_other_programs() -> None:
    package = Path(registry.__file__).parent
    users = {
        module: {
            str(path.relative_to(package))
            for path in package.rglob("*.py")
            if f"from openfl_like.{module} import" in path.read_text()
        }
        for module in ("frameworks.formats.files", "authoring.models")
    }
    assert users == {
        "frameworks.formats.files": {
            "frameworks/formats/keras.py",
            "authoring/models.py",
        },
        "authoring.models": {
            "api/experiments.py",
            "cli/dry_run.py",
            "cli/model.py",
            "cli/plan.py",
            "cli/simulate.py",
            "doctor/plan.py",
        },
    }
