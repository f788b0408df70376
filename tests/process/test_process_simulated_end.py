"""How a simulation ends whose code would end it."""

import shutil
from pathlib import Path

import pytest
from federations import OBEDIENT, run_fx

pytestmark = pytest.mark.process


@pytest.mark.parametrize("where", ["task", "shard"])
@pytest.mark.parametrize("way", ["os._exit(0)", "os.execlp('true', 'true')"])
async def test_code_that_ends_the_process_is_no_success(tmp_path: Path, where: str, way: str) -> None:
    workspace = tmp_path / "study"
    shutil.copytree(OBEDIENT, workspace, ignore=shutil.ignore_patterns("__pycache__", "hanging*", "raising*", "escap*"))
    file, line = {
        "task": (workspace / "src" / "obedient.py", "        self._vector += ("),
        "shard": (workspace / "shards" / "one_number.py", "        self._value = value"),
    }[where]
    text = file.read_text()
    assert line in text
    file.write_text(text.replace(line, f"        __import__('os').{way.removeprefix('os.')}\n{line}"))
    code, out, told = await run_fx("simulate", str(workspace / "plan.yaml"), cwd=tmp_path)
    assert (code, "sha256" in out) == ({"task": 1, "shard": 4}[where], False)
    assert "would have ended the whole simulation" in told
