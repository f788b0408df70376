import asyncio
import threading

import pytest

from openfl_like.services.director.single_flight import SingleFlight


async def test_who_asks_meanwhile_gets_the_same_answer_and_who_asks_later_another_one() -> None:
    once: SingleFlight[int] = SingleFlight()
    begin, done = threading.Event(), []

    def work() -> int:
        begin.wait(5)
        done.append(1)
        return len(done)

    both = asyncio.gather(once.do("a", work), once.do("a", work))
    other = asyncio.create_task(once.do("b", lambda: -1))
    assert await other == -1
    begin.set()
    assert list(await both) == [1, 1]
    assert await once.do("a", work) == 2


async def test_it_goes_on_when_who_asked_has_gone() -> None:
    once: SingleFlight[str] = SingleFlight()
    begin = threading.Event()

    def work() -> str:
        begin.wait(5)
        return "done"

    gone = asyncio.create_task(once.do("a", work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    again = asyncio.create_task(once.do("a", lambda: "done twice"))
    await asyncio.sleep(0)
    begin.set()
    assert await again == "done"


async def test_everybody_is_told_of_a_failure_and_may_ask_again() -> None:
    once: SingleFlight[str] = SingleFlight()

    def work() -> str:
        raise OSError("the disk is full")

    answers = await asyncio.gather(once.do("a", work), once.do("a", work), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["the disk is full"] * 2
    assert await once.do("a", lambda: "there is room") == "there is room"
