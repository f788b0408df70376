"""A conversation ends with its last message, with the peer's silence, or with an error; never half."""

import asyncio

import pytest

from openfl_like.errors import UnreachableError
from openfl_like.runtimes.session import converse


class Peer:
    """Collects what it is sent; listens until it is told to stop."""

    def __init__(self) -> None:
        self.mailbox: asyncio.Queue[str] = asyncio.Queue()
        self.sent: list[str] = []
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.listens = False

    async def listen(self) -> None:
        self.listens = True
        try:
            await self.heard
        finally:
            self.listens = False

    async def send(self, message: str) -> None:
        self.sent.append(message)

    async def converse(self) -> None:
        async with asyncio.timeout(5):
            await converse(self.mailbox, self.listen(), self.send, lambda message: message == "last")


async def test_messages_go_out_in_order_until_the_last() -> None:
    peer = Peer()
    for message in ("a", "b", "last", "never sent"):
        peer.mailbox.put_nowait(message)
    await peer.converse()
    assert peer.sent == ["a", "b", "last"]
    await asyncio.sleep(0)
    assert not peer.listens


async def test_it_ends_when_the_peer_stops_reporting() -> None:
    peer = Peer()
    talking = asyncio.create_task(peer.converse())
    await asyncio.sleep(0)
    peer.heard.set_result(None)
    await talking
    assert peer.sent == []


async def test_all_that_waits_is_sent_before_the_peer_s_silence_or_error_ends_it() -> None:
    peer = Peer()

    async def slow(message: str) -> None:
        await asyncio.sleep(0)
        peer.sent.append(message)

    async def refused() -> None:
        peer.mailbox.put_nowait("withdrawal")
        peer.mailbox.put_nowait("last")
        raise UnreachableError("gone")

    await converse(peer.mailbox, refused(), slow, lambda message: message == "last")
    assert peer.sent == ["withdrawal", "last"]


async def test_what_waits_is_sent_even_when_the_peer_has_just_stopped() -> None:
    peer = Peer()
    peer.heard.set_result(None)
    peer.mailbox.put_nowait("last")
    await peer.converse()
    assert peer.sent == ["last"]


async def test_an_error_of_the_listener_is_the_error_of_the_conversation() -> None:
    peer = Peer()
    talking = asyncio.create_task(peer.converse())
    await asyncio.sleep(0)
    peer.heard.set_exception(UnreachableError("gone"))
    with pytest.raises(UnreachableError, match="gone"):
        await talking


async def test_an_error_of_sending_stops_the_listener() -> None:
    peer = Peer()

    async def broken(_: str) -> None:
        raise UnreachableError("gone")

    peer.mailbox.put_nowait("a")
    with pytest.raises(UnreachableError, match="gone"):
        await converse(peer.mailbox, peer.listen(), broken, lambda _: False)
    await asyncio.sleep(0)
    assert not peer.listens


async def test_a_cancelled_conversation_stops_the_listener_and_takes_no_message() -> None:
    peer = Peer()
    talking = asyncio.create_task(peer.converse())
    await asyncio.sleep(0)
    talking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await talking
    await asyncio.sleep(0)
    assert not peer.listens
    peer.mailbox.put_nowait("for the next session")
    await asyncio.sleep(0)
    assert peer.mailbox.qsize() == 1
