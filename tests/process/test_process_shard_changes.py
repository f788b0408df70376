"""A table that changes while the Envoy runs: the roster has what it is like now, and the session is the same."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from federations import User, federation_of, fx_fine
from pace import limit

from openfl_like.federation.parties import DataProblem, EnvoyRecord, Interface
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


def site_in(directory: Path) -> Path:
    """Makes a site with a table of two rows and gives its shard.yaml."""
    site = directory / "site"
    site.mkdir()
    (site / "table.py").write_text(SHARD)
    (site / "shard.yaml").write_text(f"template: table:Table\nparams: {{file: {site / 'rows.txt'}}}\n")
    (site / "rows.txt").write_text("1\n2\n")
    return site / "shard.yaml"


async def once(user: User, true: Callable[[EnvoyRecord], bool]) -> EnvoyRecord:
    """Gives the roster's only row when that is true of it."""
    async with asyncio.timeout(limit(60)):
        async for _ in backoff(cap_s=1.0):
            (record,) = await user.envoys.envoys()
            if true(record):
                return record
    raise AssertionError("unreachable")


def trains_on(count: int) -> Callable[[EnvoyRecord], bool]:
    return lambda record: record.shard.schema["counts"] == {"train": count, "validate": count}


async def test_the_roster_says_that_a_shard_has_grown(tmp_path: Path) -> None:
    shard = site_in(tmp_path)
    async with federation_of({"bern": shard}, tmp_path) as (federation, user):
        before = await once(user, trains_on(2))
        (shard.parent / "rows.txt").write_text("1\n2\n3\n")
        after = await once(user, trains_on(3))
        assert (after.shard.description, after.online_since) == ("a table of 3 rows", before.online_since)
    log = (federation.directory / "director.log").read_text()
    assert "envoy 'bern' describes its data anew: a table of 3 rows" in log


async def test_whoever_looks_at_the_federation_is_told_that_a_shard_has_another_shape_until_it_is_mended(
    tmp_path: Path,
) -> None:
    shard = site_in(tmp_path)
    async with federation_of({"bern": shard}, tmp_path) as (federation, user):
        (shard.parent / "rows.txt").write_text("1 1\n2 2\n")
        found = await once(user, lambda record: record.problem is not None)
        assert found.problem == DataProblem(Interface("", (1,), ()), Interface("", (2,), ()))
        for words in (("status",), ("envoy", "list"), ("envoy", "show", "bern")):
            told = " ".join((await fx_fine(*words, federation=federation)).split())
            assert "refuses orders: the data of this site has samples of shape [2], targets of shape [] now" in told
        (shard.parent / "rows.txt").write_text("1\n2\n3\n4\n")
        await once(user, lambda record: record.problem is None and trains_on(4)(record))
        assert "refuses orders" not in await fx_fine("status", federation=federation)
