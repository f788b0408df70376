"""Orders to a worker, and what it answers: a line of JSON each, which nothing is taken for granted about."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openfl_like.data.shard_file import shares_logs
from openfl_like.federation.failure import MAX_MESSAGE, FailedTaskError, Failure, FailureKind
from openfl_like.peer_json import read_peer_json
from openfl_like.processes.child import LINE_LIMIT, Child, describe_exit
from openfl_like.processes.watchdog import FROZEN_S

POST_MORTEM_S = 15.0


class WorkerEndedError(FailedTaskError):
    """The worker died: the task may succeed in another one."""


class WorkerChannel:
    """The pipes of a worker process.

    Args:
        child: The process.
        shard: The site's shard.yaml, which says whether others may read what the worker has printed last; None: they
            may.
        patience_s: How long the end of a process that answers no more is waited for.
    """

    def __init__(self, child: Child, shard: Path | None = None, patience_s: float = POST_MORTEM_S) -> None:
        self._child, self._shard, self._patience_s = child, shard, patience_s

    async def ask(
        self, order: Mapping[str, object], progress: Callable[[object], None] | None = None
    ) -> dict[str, Any]:
        """Give an order and return the answer.

        Args:
            order: The order.
            progress: Is given what the worker tells before, whatever that is; it raises nothing.

        Raises:
            WorkerEndedError: If the worker died over it, or its answer is no JSON object.
        """
        stdin = self._child.process.stdin
        assert stdin is not None  # noqa: S101 (always piped)
        try:
            stdin.write(json.dumps(order).encode() + b"\n")
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise await self._post_mortem() from None
        while True:
            answer = await self._answer()
            if progress is None or answer.keys() != {"progress"}:
                return answer
            progress(answer["progress"])

    async def _answer(self) -> dict[str, Any]:
        try:
            line = await self._child.line()
        except (BrokenPipeError, ConnectionResetError):
            line = ""
        except ValueError as too_long:
            raise await self.invalid(f"a line of more than {LINE_LIMIT} bytes") from too_long
        if not line:
            raise await self._post_mortem()
        try:
            answer = read_peer_json(line, LINE_LIMIT)
        except ValueError as mistake:
            raise await self.invalid(str(mistake)) from mistake
        if not isinstance(answer, dict):
            raise await self.invalid(f"it is a {type(answer).__name__}")
        return answer

    async def content(self, size: int) -> bytes:
        """Return what follows an answer.

        Raises:
            WorkerEndedError: If the worker died meanwhile.
        """
        try:
            return await self._child.content(size)
        except asyncio.IncompleteReadError as error:
            raise await self._post_mortem() from error

    async def invalid(self, mistake: str) -> WorkerEndedError:
        """End a worker whose answers mean nothing: the site's own code has written there as well, or in our place."""
        await self._child.stop(grace_s=0.0)
        text = f"its worker answered what is not a valid answer: {mistake}"[:MAX_MESSAGE]
        return WorkerEndedError(text, Failure(FailureKind.WORKER, text))

    async def _post_mortem(self) -> WorkerEndedError:
        try:
            code = await asyncio.wait_for(self._child.wait(), self._patience_s)
        except TimeoutError:  # it has closed its pipe and lives on
            code = await self._child.stop(grace_s=0.0)
        last = self._child.last_line() if self._shard is None or shares_logs(self._shard) else ""
        text = f"its worker was ended: {describe_exit(code)}" + (f"; last line: {last}" if last else "")
        if self._child.frozen:
            text = f"its worker was frozen for {FROZEN_S:g} s and was killed"
        return WorkerEndedError(text, Failure(FailureKind.WORKER, text[:MAX_MESSAGE], exit_code=code))
