"""An upload is answered when all of it is read: an earlier answer would leave its sender writing for ever."""

from pathlib import Path
from typing import cast

import pytest

from openfl_like.errors import TransferError
from openfl_like.federation.ports import UploadTarget
from openfl_like.pki.roles import Identity
from openfl_like.tensors.manifest import manifest_of
from openfl_like.wire.server import Call
from openfl_like.wire.transfer.limit import TransferLimiter
from openfl_like.wire.transfer.serving import FileTransport, take_file


@pytest.mark.parametrize("complete", [True, False])
async def test_a_small_file_is_read_to_its_end_before_the_answer(tmp_path: Path, *, complete: bool) -> None:
    source, target = tmp_path / "bundle.tar", tmp_path / "taken.tar"
    source.write_bytes(b"x" * 8192)
    manifest, frames = manifest_of(source), [source.read_bytes()]

    async def receive() -> bytes | None:
        return frames.pop() if frames else None

    async def send(_: object) -> None:
        raise AssertionError("a small file is not asked for")

    call = Call(cast("Identity", None), receive, send)
    transport = FileTransport(TransferLimiter(1))
    await take_file(call, UploadTarget(target, complete=complete), manifest, transport)
    assert frames == []
    assert target.exists() is not complete
    with pytest.raises(TransferError, match="ended before its last chunk"):
        await take_file(call, UploadTarget(target, complete=complete), manifest, transport)
