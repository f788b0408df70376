"""The worker's channel: submitted code finds an empty standard input, and what it prints is no answer."""

import asyncio
from pathlib import Path

import pytest

from openfl_like.errors import ShardError
from openfl_like.processes.worker_client import WorkerSettings, shard_facts

pytestmark = pytest.mark.children

SHARD = """\
import subprocess, sys
import numpy as np
from openfl_like.data.shard import DataSchema, Dataset


class Shard:
    sample_shape = (2,)
    target_shape = ()
    schema = DataSchema("float32", "float32", (0.0, 1.0), (0.0, 1.0), 0, {"train": 4, "validate": 4})

    @property
    def dataset_description(self):
        return READ

    def get_dataset(self, kind):
        return Dataset(np.zeros((4, 2), np.float32), np.zeros(4, np.float32))
"""


async def _described(directory: Path, read: str) -> str:
    (directory / "shard.yaml").write_text("template: local:Shard\n")
    (directory / "local.py").write_text(SHARD.replace("READ", read))
    settings = WorkerSettings(shard=directory / "shard.yaml", directory=directory / "work")
    async with asyncio.timeout(30):
        return (await shard_facts(settings, lambda _: None)).description


@pytest.mark.parametrize(
    ("read", "finds"),
    [
        ("repr(sys.stdin.read())", "''"),
        ("repr(subprocess.run(['cat'], capture_output=True).stdout)", "b''"),
        ("repr(subprocess.run(['ls', '/proc/self/fd'], stdin=None, capture_output=True).stdout.split())",
         "[b'0', b'1', b'2', b'3']"),
        ("str(print('{\"ready\": {}}', flush=True))", "None"),
        ("str(open(1, 'w', closefd=False).write('{\"ready\": {}}\\n'))", "14"),
    ],
)  # fmt: skip
async def test_whoever_reads_finds_nothing_and_whoever_prints_answers_nothing(
    tmp_path: Path, read: str, finds: str
) -> None:
    assert await _described(tmp_path, read) == finds


async def test_input_ends_with_an_error_that_is_told(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="EOF when reading a line"):
        await _described(tmp_path, "input('press enter ')")
