"""Many peers that connect at once, as after a Director's restart: each handshake asks for the server's certificate."""

import asyncio
import ssl
from pathlib import Path

import pytest
from federations import federation_of

from openfl_like.pki.files import load_credentials
from openfl_like.pki.roles import Identity, Role

pytestmark = pytest.mark.process
AT_ONCE = 100
WAVES = 8


async def test_a_director_outlives_many_handshakes_at_once(tmp_path: Path) -> None:
    async with federation_of({}, tmp_path) as (federation, user):
        own = load_credentials(federation.user_certificates)
        pair = tmp_path / "pair.pem"
        pair.write_bytes(own.key + own.chain)
        context = ssl.create_default_context(cadata=own.trust.root.decode())
        context.load_cert_chain(pair)
        context.set_alpn_protocols(["h2"])
        name = Identity(own.identity.federation, Role.DIRECTOR, "director").server_name
        host, _, port = federation.director.rpartition(":")

        async def shake() -> None:
            _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name)
            writer.transport.abort()  # an HTTP/2 server is talking by now

        for _ in range(WAVES):
            await asyncio.gather(*(shake() for _ in range(AT_ONCE)))
        assert (await user.director.status()).health == "healthy"
        assert federation.children["director"].process.returncode is None
