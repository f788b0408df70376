"""The line to the site CA's own server: one question and one answer over TLS, each a line of JSON with texts in it.

It is no gRPC service, since who asks may have no certificate yet, and since it runs where no Director is.
"""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self

from openfl_like.error_meanings import from_code
from openfl_like.errors import (
    ConflictError,
    FederationError,
    InternalError,
    UnauthenticatedError,
    UnreachableError,
    UsageError,
    no_room,
)
from openfl_like.peer_json import read_peer_json
from openfl_like.wire.tls import peer_pem

log = logging.getLogger(__name__)
LINE_BYTES = 512 * 1024
QUESTION_BYTES = 32 * 1024
ANSWER_S = 20.0
PATIENCE_S = 10.0
CLOSING_S = 2.0
MOST_CONNECTIONS = 128


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asks the authority.

    Attributes:
        host: From where.
        certificate: What the asker showed, PEM, issued below the root; empty if it showed none.
        fields: What it says.
    """

    host: str
    certificate: bytes
    fields: Mapping[str, str]


Answering = Callable[[Question], Awaitable[Mapping[str, str]]]


class EnrolmentServer:
    """Answers on one address, as an async context manager.

    Args:
        listen: ``host:port``; port 0 takes a free one.
        context: From `openfl_like.wire.tls.office_context`, with the server's certificate.
        answering: Answers a question; an error of ours is what the asker gets to see.

    Raises:
        ConflictError: If the address is taken.
    """

    def __init__(self, listen: str, context: ssl.SSLContext, answering: Answering) -> None:
        self._listen, self._context, self._answering = listen, context, answering
        self._open = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        host, _, port = self._listen.rpartition(":")
        try:
            self._server = await asyncio.start_server(
                self._serve,
                host.strip("[]"),
                int(port),
                ssl=self._context,
                ssl_handshake_timeout=PATIENCE_S,
                ssl_shutdown_timeout=CLOSING_S,
                limit=QUESTION_BYTES,
                backlog=256,
            )
        except OSError as error:
            raise ConflictError(f"cannot listen on {self._listen}", cure="another process has the port") from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MOST_CONNECTIONS:
                async with asyncio.timeout(PATIENCE_S + ANSWER_S):
                    answer = await self._answer(reader, writer)
                    writer.write(json.dumps(answer).encode("utf-8") + b"\n")
                    await writer.drain()
        except (OSError, TimeoutError) as error:
            log.info("a connection was given up: %s", error)
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Mapping[str, object]:
        host = str((writer.get_extra_info("peername") or ("?",))[0])
        try:
            async with asyncio.timeout(PATIENCE_S):
                fields = await _fields(reader)
            return {
                "answer": await self._answering(Question(host, peer_pem(writer.get_extra_info("ssl_object")), fields))
            }
        except FederationError as error:
            log.info("%s was refused: %s %s", host, error.code, error)
            return {"code": error.code, "message": str(error)}
        except OSError as error:
            full = no_room(error)
            log.warning("%s could not be answered: %s", host, full or error)
            return {"code": (full or InternalError).code, "message": str(full or "the authority could not answer")}
        except Exception:
            log.exception("%s could not be answered", host)
            return {"code": InternalError.code, "message": "the authority could not answer"}


async def ask(address: str, context: ssl.SSLContext, server_name: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Ask the authority's server.

    Args:
        address: ``host:port``.
        context: From `openfl_like.wire.tls`.
        server_name: DNS name that its certificate must carry.
        fields: The question.

    Raises:
        UnreachableError: If nobody answers there.
        UnauthenticatedError: If the server cannot prove that it is the authority's.
        FederationError: Whatever the authority has against it.
    """
    try:
        async with asyncio.timeout(ANSWER_S):
            answer = await _exchange(address, context, server_name, fields)
    except ssl.SSLCertVerificationError as error:
        raise UnauthenticatedError(
            f"the server at {address} is not this federation's authority: {error.verify_message}",
            cure="nothing was sent to it; check the address, and both clocks",
        ) from error
    except (OSError, TimeoutError) as error:
        raise UnreachableError(
            f"the authority at {address} does not answer: {str(error) or 'no answer in time'}",
            cure="check the address, and that 'fx pki serve' runs there",
        ) from error
    except ValueError as error:
        raise UnreachableError(
            f"what answers at {address} is not an authority of this platform: {error}",
            cure="check the address, and compare the versions of both sides",
        ) from error
    if "code" in answer:
        raise from_code(str(answer["code"]), str(answer.get("message", "")))
    found = answer.get("answer")
    if not isinstance(found, dict):
        raise UnreachableError(f"what answers at {address} is not an authority of this platform")
    return {str(key): str(value) for key, value in found.items()}


async def _exchange(
    address: str, context: ssl.SSLContext, server_name: str, fields: Mapping[str, str]
) -> dict[str, object]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(
        host.strip("[]"),
        int(port),
        ssl=context,
        server_hostname=server_name,
        ssl_shutdown_timeout=CLOSING_S,
        limit=LINE_BYTES,
    )
    try:
        writer.write(json.dumps(fields).encode("utf-8") + b"\n")
        line = await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if not line.endswith(b"\n"):
        raise OSError("it closed the connection")
    found = read_peer_json(line, LINE_BYTES)
    if not isinstance(found, dict):
        raise ValueError("it sent something else than an answer")  # noqa: TRY004 (of what was read, not of a caller's type)
    return found


async def _fields(reader: asyncio.StreamReader) -> Mapping[str, str]:
    try:
        found = read_peer_json(await reader.readline(), QUESTION_BYTES)
    except ValueError as error:  # a line that is too long, too
        raise UsageError("the question is malformed") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UsageError("the question is malformed")
    return found
