"""``fx experiment why`` names site, phase, round and exception of whatever goes wrong, in real processes.

``--sample SEED`` draws a few of the faults, so that some are tried on every change.
"""

import asyncio
import json
import os
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from faults_of_sites import FAULTS, SITES, Answer, Fault, Package, write_plan, write_site
from federations import User, federation_of, fx_fine

from openfl_like.api.explanation import Explanation, explanation
from openfl_like.api.federation import Federation
from openfl_like.printable import printable_line
from openfl_like.processes.child import FURTHER_NAMES
from openfl_like.services.local_federation import LocalFederation

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]
FEW = 4
MOST_SHOWN = 500


@pytest.fixture
def drawn(request: pytest.FixtureRequest) -> list[Fault]:
    """All faults, or those of the sample."""
    seed = request.config.getoption("sample")
    return list(FAULTS) if seed is None else random.Random(seed).sample(FAULTS, FEW)  # noqa: S311 (chooses tests)


def _environment(packages: Path) -> dict[str, str]:
    """Has the processes find a package that is not installed."""
    paths = [str(packages), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {FURTHER_NAMES: "PYTHONPATH", "PYTHONPATH": os.pathsep.join(paths)}


def _why(federation: LocalFederation, experiments: Sequence[str]) -> list[Explanation]:
    with Federation(federation.director, federation.user_certificates) as client:
        return [explanation(client, experiment) for experiment in experiments]


async def _submit(user: User, place: Path, faults: Sequence[Fault]) -> list[str]:
    """Queues an experiment for each fault."""
    plans = [write_plan(place / f"workspace-{number}", fault) for number, fault in enumerate(faults)]
    return [await user.submit(plan, *fault.overrides) for plan, fault in zip(plans, faults, strict=True)]


async def _run(user: User, place: Path, faults: Sequence[Fault]) -> dict[str, Fault]:
    """Has all faults happen; those of the data, which are no part of a plan, one by one at the end."""
    planned, others = [fault for fault in faults if not fault.shard], [fault for fault in faults if fault.shard]
    done = dict(zip(await _submit(user, place / "planned", planned), planned, strict=True))
    for experiment in done:
        await user.ended(experiment, timeout_s=200)
    for fault in others:
        note = place / "site-2" / "fault.json"
        note.write_text(json.dumps(fault.shard))
        (experiment,) = await _submit(user, place / fault.name, [fault])
        done[(await user.ended(experiment)).id] = fault
        note.unlink()
    return done


def _differences(found: Explanation, right: Answer) -> list[str]:
    """What ``why`` gets wrong."""
    cause = found.why.cause
    if cause is None:
        return [f"no cause: {found.why.sentence}"]
    told = (found.why.verdict, cause.site, cause.phase, cause.round, cause.error)
    wanted = (right.verdict, right.site, right.phase, right.round, right.error)
    wrong = [] if told == wanted else [f"{told} instead of {wanted}"]
    if right.words not in cause.message:
        wrong.append(f"the message {cause.message[:MOST_SHOWN]!r} has not {right.words[:MOST_SHOWN]!r}")
    return wrong


async def _check_command(federation: LocalFederation, right: Explanation) -> None:
    """The command tells the same, as fields and in words."""
    cause = right.why.cause
    assert cause is not None
    told = json.loads(await fx_fine("experiment", "why", right.summary.id, "--json", federation=federation))["data"]
    assert (told["verdict"], told["cause"]) == (right.why.verdict, asdict(cause))
    shown = await fx_fine("experiment", "why", right.summary.id, federation=federation)
    assert printable_line(cause.message) in " ".join(shown.split())


async def test_why_names_the_site_the_phase_the_round_and_the_exception_of_every_fault(
    tmp_path: Path, drawn: list[Fault], monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = Package(tmp_path / "packages").write()
    monkeypatch.syspath_prepend(str(packages))  # the user has it, too
    sites = {site: write_site(tmp_path / site, site) for site in SITES}
    async with federation_of(sites, tmp_path, environment=_environment(packages)) as (federation, user):
        faults = await _run(user, tmp_path, drawn)
        answers = await asyncio.to_thread(_why, federation, list(faults))
        found = {
            faults[answer.summary.id].name: _differences(answer, faults[answer.summary.id].answer) for answer in answers
        }
        assert {name: differences for name, differences in found.items() if differences} == {}
        await _check_command(federation, answers[0])


def test_there_are_thirty_faults_with_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 30
