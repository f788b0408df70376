"""What ran at a site, for whom, and how it ended: in its own record, also when its Envoy was killed."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from federations import PLAN, THREE, federation_of, gate_of

from openfl_like.cli.main import fx
from openfl_like.services.local_federation import LocalFederation

pytestmark = pytest.mark.process
SITE = "site-1"
ROUNDS = "aggregator.settings.rounds_to_train=3"


def history(federation: LocalFederation, *options: str) -> str:
    directory = federation.directory / f"envoy-{SITE}"
    result = CliRunner().invoke(fx, ["envoy", "history", "--directory", str(directory), *options])
    assert result.exit_code == 0, result.output
    return result.output


def parts(federation: LocalFederation) -> list[dict[str, Any]]:
    found = json.loads(history(federation, "--json"))["data"]
    assert isinstance(found, list)
    return found


async def test_a_site_knows_what_finished_what_was_cancelled_and_what_its_envoys_death_interrupted(
    tmp_path: Path,
) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        first = await user.submit(PLAN, ROUNDS)
        assert (await user.ended(first)).status == "FINISHED"

        second = await user.submit(PLAN, ROUNDS, gate.setting)
        gate.open(1)
        await gate.arrived(2)
        running = parts(federation)[-1]
        assert (running["experiment"], running["standing"]) == (second, "running")
        assert running["performed"][-1]["round"] == 1
        await user.client.cancel(second)
        assert (await user.ended(second)).status == "CANCELLED"

        third = await user.submit(PLAN, ROUNDS, gate.setting)
        await gate.arrived(2)
        await federation.kill(SITE)
        killed = parts(federation)[-1]
        assert (killed["experiment"], killed["standing"], killed["ended_at"]) == (third, "no end recorded", 0)
        assert killed["performed"][-1]["round"] == 1
        await federation.start_envoy(SITE)
        gate.open_all()
        assert (await user.ended(third)).status == "FINISHED"

    found = parts(federation)
    signer = f"fx://{federation.name}/user/user"
    assert {item["identity"] for item in found} == {signer}
    assert [(item["experiment"], item["standing"]) for item in found] == [
        (first, "FINISHED"),
        (second, "CANCELLED"),
        (third, "INTERRUPTED"),
        (third, "FINISHED"),
    ]
    assert found[1]["reason"] == "cancelled by user"
    assert signer in history(federation)
    rows = list(csv.DictReader(io.StringIO(history(federation, "--csv"))))
    trained = [int(row["round"]) for row in rows if row["experiment"] == first and row["phase"] == "train"]
    assert trained == [1, 2, 3]

    logs = [path.read_text() for path in federation.directory.glob("*.log")]
    logs += [path.read_text() for path in federation.directory.glob(f"envoy-*/{second}/collaborator.log")]
    ordinary = [line for text in logs for line in text.splitlines() if third not in line and " WARNING " in line]
    assert [line for line in ordinary if first in line or second in line or "cannot be reached" in line] == []
