"""The models of the template torch_zoo: as large as their papers say, and each trained for a step by the plan."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import JsonValue
from torch import nn

from openfl_like.data.shard import ShardDescriptor, build_shard
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import FederationError
from openfl_like.federation.participation.assignment import calls_in_phase
from openfl_like.federation.task import Assignment, Phase
from openfl_like.frameworks.perform import Performer
from openfl_like.module_scope import ModuleScope
from openfl_like.plan.load import load_plan
from openfl_like.plan.workspace import template_path
from openfl_like.registry import resolve
from openfl_like.tensors.container import read_tensors

pytestmark = pytest.mark.torch
ZOO = template_path("torch_zoo")
IMAGES = ("lenet", "resnet18", "resnet18_gn", "mobilenet_v2")


@pytest.fixture
def made() -> Iterator[Callable[[str, int, int, int], nn.Module]]:
    """Makes a model by its name in the plan."""
    with ModuleScope(ZOO).active():
        models = resolve("model", "src.zoo:MODELS")
        yield lambda name, *sizes: models[name](*sizes)  # type: ignore[index]  # a mapping of the workspace


def parameters(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize(
    ("name", "channels", "side", "classes", "published"),
    [
        ("lenet", 1, 32, 10, 61_706),
        ("lenet", 1, 28, 10, 61_706),
        ("resnet18", 3, 224, 1000, 11_689_512),
        ("resnet18_gn", 3, 224, 1000, 11_689_512),
        ("resnet18", 3, 32, 10, 11_173_962),
        ("mobilenet_v2", 3, 224, 1000, 3_504_872),
        ("mobilenet_v2", 3, 32, 10, 3_504_872 - 1281 * 990),
    ],
)
def test_a_model_has_the_parameters_that_are_published(
    made: Callable[[str, int, int, int], nn.Module], name: str, channels: int, side: int, classes: int, published: int
) -> None:
    assert parameters(made(name, channels, side, classes)) == published


def test_the_lstm_has_those_of_reddi_and_a_second_bias_of_each_gate() -> None:
    with ModuleScope(ZOO).active():
        model = resolve("model", "src.lstm:NextLetter")(90)  # type: ignore[operator]  # a class of the workspace
    assert parameters(model) == 820_522 + 2 * 4 * 256


def test_layers_of_lenet_have_the_parameters_of_the_paper(made: Callable[[str, int, int, int], nn.Module]) -> None:
    counts = [parameters(layer) for layer in made("lenet", 1, 32, 10).children() if parameters(layer)]
    dense_c3 = 16 * (6 * 25 + 1)
    assert counts == [156, dense_c3, 48_120, 10_164, 850]


@pytest.mark.parametrize("name", IMAGES[1:])
@pytest.mark.parametrize("side", [28, 32, 96])
def test_small_images_are_still_4_pixels_wide_before_the_end(
    made: Callable[[str, int, int, int], nn.Module], name: str, side: int
) -> None:
    model = made(name, 3, side, 5).eval()
    features = model.get_submodule("features")
    with torch.no_grad():
        images = torch.zeros(2, 3, side, side)
        assert features(images).shape[2:] == ((3, 3) if side == 96 else (4, 4))
        assert model(images).shape == (2, 5)


def shard(kind: str = "MadeImages", **params: JsonValue) -> ShardDescriptor:
    return build_shard(ShardConfig(template=f"made:{kind}", params={"samples": 8, **params}), ZOO / "shards")


def trained(folder: Path, name: str, data: ShardDescriptor) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The initial model, and what a round of the plan makes of it."""
    plan = load_plan(ZOO / "plan.yaml", (f"task_runner.settings.model={name}", "tasks.train.kwargs.epochs=1"))
    site, found = Performer(plan, data, ZOO), []
    for round_number, phase in enumerate((Phase.INITIALISE, Phase.TRAIN)):
        tasks = calls_in_phase(plan.tasks, tuple(plan.tasks), phase)
        model = folder / "0" if round_number else None
        site.perform(Assignment(round_number, phase, "site", tasks, "", 7), model, folder / str(round_number))
        found.append(dict(read_tensors(folder / str(round_number))))
    return found[0], found[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*IMAGES, "lstm"])
def test_a_step_of_the_plan_trains_every_weight(tmp_path: Path, name: str) -> None:
    data = shard("MadeText", letters=12, length=5) if name == "lstm" else shard()
    before, after = trained(tmp_path, name, data)
    floats = {key for key, value in after.items() if value.dtype.kind == "f"}
    assert all(np.isfinite(after[key]).all() for key in floats)
    same = {key for key in floats if np.array_equal(before[key], after[key])}
    assert same == set(), "nothing is left out of the way of the gradient"


@pytest.mark.slow
def test_only_batch_norm_sends_statistics_of_a_site(tmp_path: Path) -> None:
    sent = {}
    for name in ("resnet18", "resnet18_gn"):
        (tmp_path / name).mkdir()
        sent[name] = set(trained(tmp_path / name, name, shard(shape=[1, 8, 8]))[1])
    statistics = {key for key in sent["resnet18"] if "running" in key or "tracked" in key}
    assert len(statistics) == 20 * 3
    assert sent["resnet18"] - statistics == sent["resnet18_gn"]


@pytest.mark.parametrize("name", ["lenet", "resnet18_gn"])
def test_bytes_give_the_scores_of_what_they_stand_for(name: str) -> None:
    with ModuleScope(ZOO).active():
        models, scaled = resolve("model", "src.zoo:MODELS"), resolve("model", "src.zoo:Scaled")
        model = scaled(models[name](3, 32, 10))  # type: ignore[index,operator]  # of the workspace
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(model(images), model(images.float() / 255))


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        (
            "vgg16",
            shard,
            "the zoo has no model 'vgg16' (choose one of lenet, resnet18, resnet18_gn, mobilenet_v2, lstm",
        ),
        (
            "lstm",
            shard,
            "'lstm' takes lines of letters, [length], and targets that are classes; the site has samples [3, 32, 32]",
        ),
        ("resnet18", lambda: shard("MadeText"), "'resnet18' takes square images"),
        ("resnet18", lambda: shard(shape=[3, 32, 16]), "'resnet18' takes square images"),
        ("lenet", lambda: shard(shape=[3, 64, 64]), "LeNet takes images of 28 or 32 pixels a side, not 64"),
    ],
)
def test_data_that_a_model_is_not_for_is_refused(
    tmp_path: Path, name: str, data: Callable[[], ShardDescriptor], told: str
) -> None:
    with pytest.raises(FederationError) as caught:
        trained(tmp_path, name, data())
    assert told in str(caught.value)


@pytest.mark.parametrize("plan", ["plan.yaml", "text.yaml", "cifar10.yaml"])
def test_every_plan_of_the_template_is_one(plan: str) -> None:
    assert load_plan(ZOO / plan).task_runner.template == "src.zoo:ZooRunner"
