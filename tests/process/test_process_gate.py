"""The gate by which tests steer the rounds of an experiment, over its real socket."""

import asyncio
import os
import socket
from collections.abc import Awaitable
from typing import TypeVar

import pytest

from openfl_like.federation.seeds import assignment_seed
from openfl_like.federation.task import Phase
from openfl_like.testing.gate import Gate, pass_gate

pytestmark = pytest.mark.process
SEED, SITES = 7, ("bern", "zurich")
Result = TypeVar("Result")


def come(gate: Gate, site: str, number: int, phase: Phase = Phase.TRAIN) -> "asyncio.Task[None]":
    """Comes to the gate as the worker of a site does."""
    seed = assignment_seed(SEED, number, site, phase)
    return asyncio.create_task(asyncio.to_thread(pass_gate, gate.address, seed))


async def soon(work: Awaitable[Result]) -> Result:
    """What must not take long."""
    async with asyncio.timeout(10):
        return await work


async def test_each_site_goes_as_far_as_it_is_open_and_no_further() -> None:
    async with Gate(SEED, SITES) as gate:
        one, two = come(gate, "bern", 1), come(gate, "zurich", 1)
        assert await soon(gate.arrived(1)) == dict.fromkeys(SITES, os.getpid())
        gate.open(1, "bern", phase=Phase.TRAIN)
        await soon(one)
        evaluation = come(gate, "bern", 1, Phase.EVALUATE)
        await soon(gate.arrived(1, "bern", phase=Phase.EVALUATE))
        assert not two.done()
        gate.open(2)
        await soon(asyncio.gather(two, evaluation, come(gate, "zurich", 2), come(gate, "bern", 2, Phase.EVALUATE)))
        three = come(gate, "zurich", 3)
        await soon(gate.arrived(3, "zurich"))
        gate.open(1)  # what is open stays open, what is shut stays shut
        assert not three.done()
        await soon(come(gate, "zurich", 2))
        gate.open_all()
        await soon(three)


async def test_whoever_was_killed_waits_no_more_and_its_next_process_does() -> None:
    async with Gate(SEED, SITES) as gate:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(gate.address)
            line.sendall(f"{assignment_seed(SEED, 4, 'bern', Phase.TRAIN)} 123456\n".encode())
            assert await soon(gate.arrived(4, "bern")) == {"bern": 123456}
        following = asyncio.create_task(gate.arrived(4, "bern", former=123456))
        again = come(gate, "bern", 4)
        assert await soon(following) == {"bern": os.getpid()}
        gate.open(4)
        await soon(again)


async def test_a_gate_that_is_gone_and_an_assignment_of_another_plan_are_errors_and_no_gate_is_none() -> None:
    async with Gate(SEED, SITES) as gate:
        waiting = come(gate, "bern", 1)
        await soon(gate.arrived(1, "bern"))
        with pytest.raises(ConnectionResetError, match="does not know this assignment"):
            await soon(asyncio.to_thread(pass_gate, gate.address, 1))
        address = gate.address
    with pytest.raises(ConnectionError):
        await soon(waiting)
    with pytest.raises(OSError, match="No such file"):
        pass_gate(address, 1)
    pass_gate("", 1)
