"""A template of every framework: director mode and simulation end in the same bytes, and digits are read."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest
from federations import federation_of
from pace import limit

from openfl_like.api.federation import Federation
from openfl_like.frameworks.formats.files import write_model
from openfl_like.plan.workspace import plan_path, template_path
from openfl_like.tensors.container import read_tensors
from openfl_like.tensors.manifest import sha256_file

pytestmark = [pytest.mark.process, pytest.mark.torch]  # TensorFlow is imported by its sites' processes alone
SITES = ("site-1", "site-2", "site-3")


async def simulated(plan: Path, out: Path, overrides: list[str], *more: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openfl_like.cli", "simulate", str(plan), "-o", str(out), *more,
        *(word for text in overrides for word in ("-s", text)),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(limit(200)):
            _, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode == 0, errors.decode()
    return sha256_file(out)


@pytest.mark.timeout(480)
@pytest.mark.parametrize(
    ("template", "plan", "shape", "least"),
    [
        ("keras_digits", "digits_keras", (8, 8), 0.93),
        ("torch_digits", "digits_fedavg", (8, 8), 0.93),
        ("sklearn_breast_cancer", "breast_cancer_sklearn", (30,), 0.95),
        ("numpy_breast_cancer", "breast_cancer", (30,), 0.95),
    ],
)
@pytest.mark.long
async def test_a_template_runs_the_same_under_a_director_and_simulated(
    template: str, plan: str, shape: tuple[int, ...], least: float, tmp_path: Path
) -> None:
    overrides = ["collaborator.settings.opt_treatment=CONTINUE_GLOBAL"] if template == "keras_digits" else []
    wanted = await simulated(plan_path(plan), tmp_path / "simulated.safetensors", overrides)
    shards = {name: template_path(template) / "shards" / f"{name}.yaml" for name in SITES}
    async with federation_of(shards, tmp_path, shape) as (_, user):
        experiment = await user.submit(plan_path(plan), *overrides)
        assert (await user.ended(experiment, timeout_s=200)).status == "FINISHED"
        record = await user.client.experiment(experiment)
    assert record.versions[-1].sha256 == wanted
    assert record.versions[-1].version.metrics["accuracy"] >= least


@pytest.mark.long
async def test_an_experiment_under_a_director_starts_from_a_model_of_the_user_s(tmp_path: Path) -> None:
    mine: dict[str, np.ndarray] = {"bias": np.full((), 0.5, np.float32), "weight": np.linspace(-1, 1, 30, dtype="f4")}
    write_model(tmp_path / "mine.pt", mine)
    plan, overrides = plan_path("breast_cancer"), ["aggregator.settings.rounds_to_train=1"]
    initial = ["--initial-model", str(tmp_path / "mine.pt")]
    wanted = await simulated(plan, tmp_path / "simulated.safetensors", overrides, *initial)
    folder = template_path("numpy_breast_cancer") / "shards"
    async with federation_of({name: folder / f"{name}.yaml" for name in SITES}, tmp_path, (30,)) as (local, user):

        def submit() -> str:
            with Federation(local.director, local.user_certificates) as federation:
                return federation.submit(plan, overrides, initial_model=tmp_path / "mine.pt").id

        experiment = await asyncio.to_thread(submit)
        assert (await user.ended(experiment)).status == "FINISHED"
        record = await user.client.experiment(experiment)
        await user.client.model(experiment, "0", tmp_path / "first.safetensors")
    first = read_tensors(tmp_path / "first.safetensors")
    assert {name: array.tobytes() for name, array in first.items()} == {
        name: array.tobytes() for name, array in mine.items()
    }
    assert record.versions[-1].sha256 == wanted
