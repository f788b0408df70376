"""A template of every framework: director mode and simulation end in the same bytes, and digits are read."""

import asyncio
import sys
from pathlib import Path

import pytest
from federations import federation_of

from openfl_like.plan.workspace import plan_path, template_path
from openfl_like.tensors.manifest import sha256_file

pytestmark = [pytest.mark.process, pytest.mark.torch, pytest.mark.tensorflow]
SITES = ("site-1", "site-2", "site-3")


async def simulated(plan: Path, out: Path, overrides: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openfl_like.cli", "simulate", str(plan), "-o", str(out),
        *(word for text in overrides for word in ("-s", text)),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(100):
        _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return sha256_file(out)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("template", "plan", "shape", "least"),
    [
        ("keras_digits", "digits_keras", (8, 8), 0.93),
        ("torch_digits", "digits_fedavg", (8, 8), 0.93),
        ("sklearn_breast_cancer", "breast_cancer_sklearn", (30,), 0.95),
        ("numpy_breast_cancer", "breast_cancer", (30,), 0.95),
    ],
)
async def test_a_template_runs_the_same_under_a_director_and_simulated(
    template: str, plan: str, shape: tuple[int, ...], least: float, tmp_path: Path
) -> None:
    overrides = ["collaborator.settings.opt_treatment=CONTINUE_GLOBAL"] if template == "keras_digits" else []
    wanted = await simulated(plan_path(plan), tmp_path / "simulated.safetensors", overrides)
    shards = {name: template_path(template) / "shards" / f"{name}.yaml" for name in SITES}
    async with federation_of(shards, tmp_path, shape) as (_, user):
        experiment = await user.submit(plan_path(plan), *overrides)
        assert (await user.ended(experiment, timeout_s=100)).status == "FINISHED"
        record = await user.client.experiment(experiment)
    assert record.versions[-1].sha256 == wanted
    assert record.versions[-1].version.metrics["accuracy"] >= least
