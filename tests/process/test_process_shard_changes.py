"""A table that grows while the Envoy runs: the roster has its new count, and the session is the same."""

import asyncio
from pathlib import Path

import pytest
from federations import federation_of
from pace import limit

from openfl_like.federation.parties import EnvoyRecord
from openfl_like.wire.channel import backoff

pytestmark = pytest.mark.process
SHARD = """
from pathlib import Path

import numpy as np

from openfl_like.data.shard import ArrayShard, Dataset


class Table(ArrayShard):
    def __init__(self, file):
        rows = np.loadtxt(file, dtype=np.float32, ndmin=2)
        data = Dataset(rows, np.zeros(len(rows), np.int64))
        super().__init__({"train": data, "validate": data}, f"a table of {len(rows)} rows", (-100.0, 100.0))
"""


async def test_the_roster_says_that_a_shard_has_grown(tmp_path: Path) -> None:
    site, table = tmp_path / "site", tmp_path / "site" / "rows.txt"
    site.mkdir()
    (site / "table.py").write_text(SHARD)
    (site / "shard.yaml").write_text(f"template: table:Table\nparams: {{file: {table}}}\n")
    table.write_text("1\n2\n")
    async with federation_of({"bern": site / "shard.yaml"}, tmp_path) as (federation, user):

        async def once(count: int) -> EnvoyRecord:
            async with asyncio.timeout(limit(60)):
                async for _ in backoff(cap_s=1.0):
                    (record,) = await user.envoys.envoys()
                    if record.shard.schema["counts"] == {"train": count, "validate": count}:
                        return record
            raise AssertionError("unreachable")

        before = await once(2)
        table.write_text("1\n2\n3\n")
        after = await once(3)
        assert (after.shard.description, after.online_since) == ("a table of 3 rows", before.online_since)
    log = (federation.directory / "director.log").read_text()
    assert "envoy 'bern' describes its data anew: a table of 3 rows" in log
