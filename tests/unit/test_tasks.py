"""Races, work beside a block, and owners: whatever happens, no task is left."""

import asyncio
import threading

import pytest

from openfl_like.tasks import SerialThread, TaskOwner, background, first_of


async def never() -> None:
    await asyncio.Event().wait()


async def at_once(value: object) -> object:
    return value


async def failing() -> None:
    raise ValueError("broken")


def others() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_the_first_one_gives_its_result_and_the_others_are_cancelled() -> None:
    ended = []

    async def slow() -> None:
        try:
            await never()
        finally:
            ended.append("slow")

    assert await first_of(fast=at_once(1), slow=slow()) == {"fast": 1}
    assert ended == ["slow"]
    assert others() == set()


async def test_those_that_end_together_all_give_their_results_in_the_order_of_the_arguments() -> None:
    assert list((await first_of(b=at_once(2), a=at_once(1), c=never())).items()) == [("b", 2), ("a", 1)]


async def test_what_the_first_one_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="broken"):
        await first_of(bad=failing(), slow=never())
    assert others() == set()


async def test_after_its_time_nothing_has_ended() -> None:
    assert await first_of(0.0, slow=never()) == {}
    assert others() == set()


async def test_who_is_cancelled_in_a_race_cancels_all() -> None:
    racing = asyncio.ensure_future(first_of(one=never(), two=never()))
    await asyncio.sleep(0)
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert others() == set()


async def test_a_future_can_race_too() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(7)
    assert await first_of(future=future, slow=never()) == {"future": 7}


async def test_background_work_ends_with_the_block() -> None:
    async with background(never(), at_once(None)):
        assert len(others()) == 2
    assert others() == set()


async def test_background_work_that_fails_takes_the_block_with_it() -> None:
    with pytest.raises(ValueError, match="broken"):
        async with background(failing(), never()):
            await never()
    assert others() == set()


async def test_background_work_that_fails_when_the_block_is_over_does_not_cancel_what_comes_after_it() -> None:
    failed = asyncio.Event()

    async def failing_late() -> None:
        await failed.wait()
        raise ValueError("broken")

    async with background(failing_late()):
        await asyncio.sleep(0)
        failed.set()
        await asyncio.sleep(0)  # it has failed; nobody has been told
    await asyncio.sleep(0)
    assert others() == set()


async def test_an_owner_ends_what_it_started() -> None:
    owner = TaskOwner()
    going, done = owner.start(never()), owner.start(at_once(3))
    assert await done == 3
    await owner.wait(0.0)
    assert len(owner) == 1
    await owner.close()
    assert going.cancelled()
    assert others() == set()


async def test_an_owner_can_be_closed_by_a_task_of_its_own() -> None:
    owner = TaskOwner()
    other = owner.start(never())

    async def closing() -> str:
        await owner.close()
        return "closed"

    assert await owner.start(closing()) == "closed"
    assert other.cancelled()


async def test_a_serial_thread_does_one_thing_after_the_other_and_gives_back_what_comes_of_it() -> None:
    thread = SerialThread("ours")
    names = [await thread.run(lambda: threading.current_thread().name) for _ in range(2)]
    with pytest.raises(ValueError, match="broken"):
        await thread.run(lambda: int("broken"))
    with pytest.raises(SystemExit):
        await thread.run(lambda: exec("raise SystemExit"))  # noqa: S102 (submitted code may end the program)
    thread.close()
    assert names == ["ours", "ours"]


async def test_who_gave_up_what_never_ends_is_not_held_up_by_it() -> None:
    thread, released = SerialThread("ours"), threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await thread.run(released.wait)
    assert any(each.name == "ours" and each.daemon for each in threading.enumerate())
    released.set()
    assert await thread.run(lambda: "and on") == "and on"
    thread.close()
