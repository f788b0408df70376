"""A simulation in what was passed on gives the bytes of one in the folder that it was made of."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from federations import OBEDIENT, fx_fine

from openfl_like.tensors.container import write_tensors

pytestmark = pytest.mark.process

MODEL = {"vector": np.arange(100, dtype=np.float32)}


def change(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def as_it_is(workspace: Path) -> Path:
    return workspace / "plan.yaml"


def without_init_files(workspace: Path) -> Path:
    """Packages without `__init__.py`, one in the other, imported both ways; a module that only a function imports."""
    source = workspace / "src"
    (source / "__init__.py").unlink()
    (source / "steps").mkdir()
    (source / "steps" / "half.py").write_text("from ..late import OFFSET\n\nSTEP = 2.5 + OFFSET\n")
    (source / "late.py").write_text("OFFSET = 0.5\n")
    (workspace / "factor.py").write_text("FACTOR = 1.5\n")
    change(
        source / "obedient.py",
        ("import numpy as np\n", "import numpy as np\nfrom src.steps.half import STEP\nfrom .steps import half\n"),
        ("        self._vector += (", "        from factor import FACTOR\n\n        self._vector += FACTOR * ("),
        (") / 2", ") / max(STEP, half.STEP)"),
    )
    return workspace / "plan.yaml"


def with_files_beside_the_code(workspace: Path) -> Path:
    """The plan beside its workspace, with the defaults of another file; files that code and settings name."""
    folder = workspace.parent
    for name in ("plan.yaml", "shards"):
        (workspace / name).rename(folder / name)
    shutil.move(folder / "shards", workspace / "shards")
    (folder / "agreed.yaml").write_text("seed: 9\naggregator: {settings: {rounds_to_train: 2}}\n")
    (workspace / "settings").mkdir()
    (workspace / "settings" / "step.txt").write_text("3.0")
    (workspace / "src" / "scale.json").write_text("[1.5]")
    change(
        workspace / "src" / "obedient.py",
        ("import numpy as np\n", "import json\nfrom pathlib import Path\n\nimport numpy as np\n"),
        ('gate: str = ""', 'gate: str = "", step: str = ""'),
        ("        self._gate = gate\n", "        self._gate = gate\n        self._step = read(step)\n"),
        (") / 2", ") / self._step"),
        (
            "def escape",
            "def read(step: str) -> float:\n    here = Path(__file__)\n"
            "    scale = json.loads(here.with_name('scale.json').read_text())\n"
            "    return scale[0] * float((here.parents[1] / step).read_text())\n\n\ndef escape",
        ),
    )
    change(
        folder / "plan.yaml",
        ("seed: 3\n", f"defaults: agreed.yaml\nworkspace: {workspace.name}\ninclude: [src/scale.json]\n"),
        ("aggregator: {settings: {rounds_to_train: 3}}\n", ""),
        ("Runner}", "Runner, settings: {step: settings/step.txt}}"),
    )
    return folder / "plan.yaml"


def from_a_model(workspace: Path) -> Path:
    """An initial model, and a second one that every site evaluates."""
    (workspace / "models").mkdir()
    for name in ("start", "other"):
        write_tensors(workspace / "models" / f"{name}.safetensors", MODEL, sync=False)
    change(
        workspace / "plan.yaml",
        ("rounds_to_train: 3", "rounds_to_train: 3, init_state_path: models/start.safetensors"),
        (
            "  validate: {function: validate}",
            "  validate: {function: validate}\n"
            "  other: {function: validate, kwargs: {apply: 'file:models/other.safetensors'}}",
        ),
    )
    return workspace / "plan.yaml"


def of_an_evaluation(workspace: Path) -> Path:
    """A plan that trains nothing."""
    plan = from_a_model(workspace)
    change(
        plan,
        ("  train: {function: train}\n", ""),
        ("  validate: {function: validate}\n", ""),
        ("rounds_to_train: 3", "rounds_to_train: 1"),
        ("model_store: {best: {metric: loss, mode: min}}\n", ""),
    )
    return plan


async def last_model(plan: Path, cwd: Path) -> str:
    told = await fx_fine("simulate", str(plan), "--json", cwd=cwd)
    result = json.loads(told.splitlines()[-1])
    assert (result["kind"], result["status"]) == ("result", "FINISHED")
    assert len(result["sha256"]) == 64
    return str(result["sha256"])


@pytest.mark.parametrize(
    "made", [as_it_is, without_init_files, with_files_beside_the_code, from_a_model, of_an_evaluation]
)
async def test_an_unpacked_workspace_gives_the_same_model(made: Callable[[Path], Path], tmp_path: Path) -> None:
    workspace = tmp_path / "at-home" / "study"
    shutil.copytree(OBEDIENT, workspace, ignore=shutil.ignore_patterns("__pycache__", "hanging*", "raising*", "escap*"))
    plan = made(workspace)
    archive, theirs, elsewhere = tmp_path / "study.tar", tmp_path / "theirs", tmp_path / "elsewhere"
    elsewhere.mkdir()
    ours = await last_model(plan, elsewhere)

    await fx_fine("workspace", "export", str(plan), "-o", str(archive))
    await fx_fine("workspace", "import", str(archive), str(theirs))
    shutil.copytree(workspace / "shards", theirs / "shards")
    shutil.rmtree(tmp_path / "at-home")
    assert await last_model(Path("plan.yaml"), theirs) == ours
