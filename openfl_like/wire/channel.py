"""Client channels: mTLS always, the server's role pinned, a dead peer noticed."""

import asyncio
import random
from collections.abc import AsyncIterator

import grpc

from openfl_like.pki.files import Credentials

KEEPALIVE_S = 10.0
PING_TIMEOUT_S = 5.0
SILENCE_S = KEEPALIVE_S + PING_TIMEOUT_S
"""After so long a peer that does not answer is taken for dead."""
# grpcio needs all three to notice a frozen peer in well under a minute; the keepalive timeout alone took 69 s when
# measured.
KEEPALIVE = (
    ("grpc.keepalive_time_ms", int(KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(PING_TIMEOUT_S * 1000)),
    ("grpc.http2.ping_timeout_ms", int(PING_TIMEOUT_S * 1000)),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
# HTTP/2 frames as large as our messages, windows of a few of them from the start: a tenth less work for a large file.
FRAMES = (
    ("grpc.http2.max_frame_size", 1 << 20),
    ("grpc.http2.lookahead_bytes", 4 << 20),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.write_buffer_size", 2 << 20),
)
MESSAGE_LIMIT = 4 << 20
UNARY_DEADLINE_S = 20.0
HANDSHAKE_S = 10.0  # a Director that a thousand envoys come back to at once needs seconds for one of them
RECONNECT_CAP_S = 5.0
RETURN_SPREAD_S = 2.0


def open_channel(address: str, server_name: str, credentials: Credentials) -> grpc.aio.Channel:
    """Open a channel to a server that must carry this role name.

    Args:
        address: ``host:port``.
        server_name: DNS name of the role expected there, for example ``director.<federation>.fx``.
        credentials: Certificate and key of this side.
    """
    tls = grpc.ssl_channel_credentials(
        root_certificates=credentials.trust.root,
        private_key=credentials.key,
        certificate_chain=credentials.chain,
    )
    options = (
        *KEEPALIVE,
        *FRAMES,
        ("grpc.ssl_target_name_override", server_name),
        ("grpc.max_receive_message_length", MESSAGE_LIMIT),
        ("grpc.max_send_message_length", MESSAGE_LIMIT),
        ("grpc.initial_reconnect_backoff_ms", 200),
        (
            "grpc.min_reconnect_backoff_ms",
            int(HANDSHAKE_S * 1000),
        ),  # in spite of its name: how long one attempt may take
        ("grpc.max_reconnect_backoff_ms", int(RECONNECT_CAP_S * 1000)),
        ("grpc.enable_http_proxy", 0),
    )
    return grpc.aio.secure_channel(address, tls, options=options)


async def backoff(first_s: float = 0.1, cap_s: float = RECONNECT_CAP_S) -> AsyncIterator[int]:
    """Yield attempt numbers 0, 1, 2 …, waiting longer before each, with jitter so that a herd spreads."""
    attempt = 0
    while True:
        yield attempt
        limit = min(cap_s, first_s * 2**attempt)
        await asyncio.sleep(random.uniform(limit / 2, limit))  # noqa: S311 (spreads reconnects, protects nothing)
        attempt = min(attempt + 1, 16)


async def spread(most_s: float = RETURN_SPREAD_S) -> None:
    """Wait some part of this time: those that lost the same server at once must not come back at once."""
    await asyncio.sleep(random.uniform(0.0, most_s))  # noqa: S311 (as above)
