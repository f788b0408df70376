"""An answer that is lost, and a power cut after an acknowledgement: there is one experiment, and it runs."""

import asyncio
import json
from pathlib import Path

import pytest
from federations import PLAN, THREE, federation_of, gate_of
from pace import limit

from openfl_like import failpoints
from openfl_like.processes.child import clean_environment, fx_command

pytestmark = pytest.mark.process


@pytest.mark.parametrize("point", ["director.submit.row.before", "director.submit.announced"])
@pytest.mark.long
async def test_a_director_that_dies_over_a_submission_is_asked_again_by_fx_itself(tmp_path: Path, point: str) -> None:
    armed, landed = tmp_path / "armed", tmp_path / "landed"
    switch = {failpoints.SWITCH: f"@{armed}", failpoints.LANDED: str(landed)}
    async with federation_of(THREE, tmp_path, environment=switch) as (federation, user):
        armed.write_text(f"{point}=kill")
        where = ("-d", federation.director, "--certificates", str(federation.user_certificates))
        submitting = await asyncio.create_subprocess_exec(
            *fx_command("experiment", "submit", str(PLAN), *where, "--json"),
            stdout=asyncio.subprocess.PIPE,
            env=clean_environment(),
        )
        async with asyncio.timeout(limit(60)):
            await federation.children["director"].wait()
            assert landed.exists()
            await federation.start_director()
            out, _ = await submitting.communicate()
        assert submitting.returncode == 0
        experiment = json.loads(out)["data"]["id"]
        assert [summary.id for summary in await user.client.experiments()] == [experiment]
        assert (await user.ended(experiment)).status == "FINISHED"
        kinds = [event.kind for event in await user.events(experiment)]
        assert kinds.count("experiment_queued") <= 1


@pytest.mark.long
async def test_what_the_power_cut_took_of_a_waiting_experiment_is_unpacked_again(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        running = await user.submit(PLAN, gate.setting)
        waiting = await user.submit()
        await gate.arrived(1)
        await federation.kill("director")
        directory = federation.state / "experiments" / waiting
        (directory / "plan.json").write_bytes(b"")
        code = next((directory / "workspace").rglob("obedient.py"))
        code.write_bytes(code.read_bytes()[:100])
        await federation.start_director()
        assert (await user.client.experiment(waiting)).plan.startswith("{")
        await user.client.cancel(running)
        assert (await user.ended(waiting)).status == "FINISHED"
