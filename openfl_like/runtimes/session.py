"""A long-lived session: what waits in a mailbox goes out while what the peer reports comes in."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from openfl_like.tasks import TaskOwner

Message = TypeVar("Message")
_NO_MORE = object()
"""Put behind the messages when the peer has stopped reporting."""


async def converse(
    mailbox: asyncio.Queue[Message],
    listening: Coroutine[Any, Any, None],
    send: Callable[[Message], Awaitable[None]],
    is_last: Callable[[Message], bool],
) -> None:
    """Send from the mailbox until its last message is out or the peer stops reporting.

    Args:
        mailbox: Messages for the peer.
        listening: Reads the peer's reports until it has no more; its error ends the session.
        send: Sends one message.
        is_last: Whether a message ends the session.
    """

    def stop_waiting(reading: asyncio.Task[None]) -> None:
        if not reading.cancelled():
            mailbox.put_nowait(cast("Message", _NO_MORE))  # what waits already goes out before

    tasks = TaskOwner()
    reading = tasks.start(listening)
    reading.add_done_callback(stop_waiting)
    try:
        while (message := await mailbox.get()) is not _NO_MORE:
            await send(message)
            if is_last(message):
                return
        await reading
    finally:
        await tasks.close()
