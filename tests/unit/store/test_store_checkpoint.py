"""The file: no bit of it can change unseen, and whoever reads it says where."""

import asyncio
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openfl_like.errors import BundleError
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.plan.bundles.archive import END, header_of
from openfl_like.store.checkpoint import FORMAT, HEAD, _with_digest, read_checkpoint
from openfl_like.testing.faults.checkpoint_moves import OfflineDirector

TOO_LONG = Failure(FailureKind.LEFT, "x" * 2000, line=2**31 - 1)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = OfflineDirector.founded(tmp_path_factory.mktemp("here"), "here")
    asyncio.run(here.run(cancel_after=2))
    return asyncio.run(here.export(here.state / "checkpoint.tar"))


@pytest.fixture(scope="module")
def spans(archive: Path) -> list[tuple[str, int, int]]:
    """(entry, begin of its header, end of its padding)."""
    data, found, position = archive.read_bytes(), [], 0
    while data[position : position + 512].strip(b"\0"):
        name = data[position : position + 100].rstrip(b"\0").decode()
        size = int(data[position + 124 : position + 135], 8)
        end = position + 512 + -(-size // 512) * 512
        found.append((name, position, end))
        position = end
    return found


def refused(archive: Path, data: bytes) -> str:
    out = archive.with_name("changed.tar")
    out.write_bytes(data)
    with pytest.raises(BundleError) as caught:
        read_checkpoint(out)
    return str(caught.value)


def test_it_is_read_as_it_was_written(archive: Path, tmp_path: Path) -> None:
    found = read_checkpoint(archive, tmp_path / "out")
    assert found == read_checkpoint(archive)
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == {*found.members, HEAD}
    assert sorted(found.models()) == [0, 1, 2]
    assert sorted(found.server_states()) == [1, 2]


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_refused_and_its_entry_named(
    archive: Path, spans: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    name, begin, end = data.draw(st.sampled_from(spans))
    changed = bytearray(archive.read_bytes())
    place = data.draw(st.integers(begin, end - 1))
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    words = refused(archive, bytes(changed))
    in_header = place < begin + 512  # where the name is: it may be another one now
    assert name in words or in_header or "padding" in words, words


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_file_is_refused(archive: Path, data: st.DataObject) -> None:
    whole = archive.read_bytes()
    refused(archive, whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_an_entry_too_many_too_few_or_in_another_order(archive: Path, spans: list[tuple[str, int, int]]) -> None:
    data = archive.read_bytes()
    pieces = {name: data[begin:end] for name, begin, end in spans}
    assert next(iter(pieces)) == HEAD

    def packed(*names: str) -> bytes:
        return b"".join(pieces[name] for name in names) + END

    *all_but_last, last = pieces
    assert f"lacks {last}" in refused(archive, packed(*all_but_last))
    assert "does not name it with this size" in refused(archive, packed(*pieces)[:-1024] + header_of("zzz", 0) + END)
    assert "not the order of a checkpoint" in refused(archive, packed(HEAD, *reversed(list(pieces)[1:])))
    assert "must be checkpoint.json" in refused(archive, packed(*list(pieces)[1:]))
    assert "stands there twice" in refused(archive, packed(*pieces, last))
    assert "other bytes than one block of zeros" in refused(archive, data + b"\0")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("round 1: left: no power", Failure(FailureKind.TOLD, "round 1: left: no power")),  # as 0.1.0 did
        (
            {"kind": "left", "message": "x" * 5000, "line": 10**12},
            Failure(FailureKind.LEFT, "x" * 2000, line=2**31 - 1),
        ),
    ],
)
def test_shortfalls_of_any_version_are_read_and_bounded(
    archive: Path, spans: list[tuple[str, int, int]], written: object, read: Failure
) -> None:
    data = archive.read_bytes()
    _, begin, end = spans[0]
    body = json.loads(data[begin + 512 : end].rstrip(b"\0"))
    assert body["format"] == FORMAT
    body["checkpoint"]["summary"]["shortfalls"] = {"bern": written}
    head = _with_digest(body["checkpoint"])
    out = archive.with_name("former.tar")
    out.write_bytes(header_of(HEAD, len(head)) + head + b"\0" * (-len(head) % 512) + data[end:])
    assert read_checkpoint(out).summary.shortfalls == {"bern": read}


@pytest.mark.parametrize("head", [b"", b"[]", b"{}", b"[" * 100_000, b'{"format":"openfl-like checkpoint 2"}', b"\xff"])
def test_a_first_entry_that_is_none(archive: Path, head: bytes) -> None:
    out = io.BytesIO()
    out.write(header_of(HEAD, len(head)) + head + b"\0" * (-len(head) % 512) + END)
    assert re.search(r"checkpoint\.json|no 'openfl-like checkpoint 1'", refused(archive, out.getvalue()))


def test_what_is_too_large_is_refused_before_it_is_read(archive: Path, spans: list[tuple[str, int, int]]) -> None:
    assert "the limit is" in refused(archive, header_of(HEAD, 5 << 20) + END)
    _, begin, end = spans[0]
    words = refused(archive, archive.read_bytes()[begin:end] + header_of("record.json", 65 << 20) + END)
    assert "'record.json'" in words
    assert "the limit is" in words


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read: No such file"):
        read_checkpoint(tmp_path / "nothing.tar")
