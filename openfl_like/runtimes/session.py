"""A long-lived session: what waits in a mailbox goes out while what the peer reports comes in."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from openfl_like.tasks import first_of

Message = TypeVar("Message")


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

    async def sending() -> None:
        while True:
            message = await mailbox.get()
            await send(message)
            if is_last(message):
                return

    await first_of(sending=sending(), reading=listening)
