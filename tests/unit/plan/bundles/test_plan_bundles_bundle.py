import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl_like.errors import BundleError
from openfl_like.plan import names
from openfl_like.plan.bundles import archive
from openfl_like.plan.bundles.archive import END, header_of
from openfl_like.plan.bundles.bundle import pack, unpack
from openfl_like.plan.digest import freeze
from openfl_like.plan.schema import Plan

CLASSES = b"DigitsRunner = DigitsLoader = object\n"
CODE = {"src/__init__.py": b"", "src/digits.py": CLASSES * 200, "requirements.txt": b"torch\n", "README.md": b"hi"}


def make_workspace(directory: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def entry(name: str, data: bytes = b"", *, form: Literal[0, 1, 2] = tarfile.USTAR_FORMAT, **fields: Any) -> bytes:  # noqa: ANN401 - whatever a header has
    """An entry as any tar program could write it."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(format=form) + data + b"\0" * (-len(data) % 512)


def patched(header: bytes, position: int, new: bytes, *, checksum: bool = True) -> bytes:
    """A header with other bytes in it, and a checksum that fits again."""
    changed = bytearray(header)
    changed[position : position + len(new)] = new
    if checksum:
        changed[148:156] = b" " * 8
        changed[148:156] = f"{sum(changed[:512]):06o}\0 ".encode()
    return bytes(changed)


@pytest.fixture(scope="session")
def plan(plan: Plan) -> Plan:
    """A plan that sends whatever may be sent."""
    return plan.model_copy(update={"include": ("*",)})


@pytest.fixture(scope="session")
def head(plan: Plan) -> bytes:
    """The first entry of every good bundle."""
    return entry("plan.json", freeze(plan))


# ---- packing ------------------------------------------------------------------------------------------------------


def test_what_was_packed_is_unpacked(tmp_path: Path, plan: Plan) -> None:
    workspace = make_workspace(tmp_path / "code", CODE)
    pack(workspace, plan, tmp_path / "bundle.tar")
    assert unpack(tmp_path / "bundle.tar", tmp_path / "out") == plan
    found = {str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in files_below(tmp_path / "out")}
    assert found == CODE | {"plan.json": freeze(plan)}


def test_unpacked_files_are_private_plain_and_not_executable(tmp_path: Path, plan: Plan) -> None:
    workspace = make_workspace(tmp_path / "code", CODE)
    (workspace / "src" / "digits.py").chmod(0o4777)
    pack(workspace, plan, tmp_path / "bundle.tar")
    unpack(tmp_path / "bundle.tar", tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files_below(tmp_path / "out")} == {0o644}


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, plan: Plan) -> None:
    one = make_workspace(tmp_path / "one", CODE)
    two = make_workspace(tmp_path / "two", dict(reversed(CODE.items())))
    pack(one, plan, tmp_path / "one.tar")
    for path in two.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o755)
    pack(two, plan, tmp_path / "two.tar")
    pack(two, plan, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_any_tar_program_can_read_a_bundle(tmp_path: Path, plan: Plan) -> None:
    pack(make_workspace(tmp_path / "code", CODE), plan, tmp_path / "bundle.tar")
    with tarfile.open(tmp_path / "bundle.tar") as tar:
        assert tar.getnames() == ["plan.json", *sorted(CODE)]
        assert {(info.mtime, info.uid, info.gid, info.mode) for info in tar} == {(0, 0, 0, 0o644)}


def test_what_is_local_stays_home(tmp_path: Path, plan: Plan) -> None:
    local = [
        ".git/config",
        ".env",
        "src/.hidden",
        "__pycache__/a.cpython-311.pyc",
        "src/__pycache__/b",
        "src/old.pyc",
        "shards/one.yaml",
        "data/patients.csv",
        "logs/log",
        "certs/user/key.pem",
        "save/model",
        "plan.yaml",
    ]
    kept = {"src/data/loader.py": b"", "src/plan.yaml": b"", "database.py": b""}
    workspace = make_workspace(tmp_path / "code", dict.fromkeys(local, b"secret") | kept)
    (workspace / "data" / "link").symlink_to("/etc/passwd")
    pack(workspace, plan, tmp_path / "bundle.tar")
    unpack(tmp_path / "bundle.tar", tmp_path / "out")
    found = {str(path.relative_to(tmp_path / "out")) for path in files_below(tmp_path / "out")}
    assert found == {*kept, "plan.json"}
    assert b"secret" not in (tmp_path / "bundle.tar").read_bytes()


def make_link(workspace: Path) -> None:
    (workspace / "src" / "passwd").symlink_to("/etc/passwd")


def make_directory_link(workspace: Path) -> None:
    (workspace / "etc").symlink_to("/etc")


def make_pipe(workspace: Path) -> None:
    os.mkfifo(workspace / "pipe")


def make_space(workspace: Path) -> None:
    (workspace / "my code.py").write_text("")


def make_umlaut(workspace: Path) -> None:
    (workspace / "größe.py").write_text("")


def make_case(workspace: Path) -> None:
    (workspace / "readme.md").write_text("")


def make_plan(workspace: Path) -> None:
    (workspace / "plan.json").write_text("")


def make_deep(workspace: Path) -> None:
    (workspace / "/".join("d" * 40)).mkdir(parents=True)
    (workspace / "/".join("d" * 40) / "f").write_text("")


def make_long(workspace: Path) -> None:
    (workspace / ("x" * 101)).write_text("")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (make_link, "src/passwd: .*it is a symbolic link"),
        (make_directory_link, "etc: .*it is a symbolic link"),
        (make_pipe, "pipe: .*it is no regular file"),
        (make_space, "my code.py: .*a name has"),
        (make_umlaut, "größe.py: .*a name has"),
        (make_case, "by case only"),
        (make_plan, "plan.json: .*kept for the plan"),
        (make_deep, "at most 32 parts"),
        (make_long, "a name has 1 to 100"),
    ],
)
def test_pack_refuses_what_unpack_would_refuse(
    tmp_path: Path, plan: Plan, spoil: Callable[[Path], None], message: str
) -> None:
    workspace = make_workspace(tmp_path / "code", CODE)
    spoil(workspace)
    (tmp_path / "bundle.tar").write_text("former")
    with pytest.raises(BundleError, match=message):
        pack(workspace, plan, tmp_path / "bundle.tar")
    assert (tmp_path / "bundle.tar").read_text() == "former"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.tar", "code"]


def test_pack_counts_bytes_and_entries(tmp_path: Path, plan: Plan) -> None:
    workspace, out = make_workspace(tmp_path / "code", CODE), tmp_path / "bundle.tar"
    full = replace(archive.BUNDLE, most_bytes=len(freeze(plan)) + sum(map(len, CODE.values())))
    pack(workspace, plan, out, kind=full)
    (workspace / "one_more").write_text("x")
    with pytest.raises(BundleError, match="bundle holds more than"):
        pack(workspace, plan, out, kind=full)
    with pytest.raises(BundleError, match="at most 3 entries"):
        pack(workspace, plan, out, kind=replace(archive.BUNDLE, most_entries=3))


def test_a_missing_workspace_is_a_clear_error(tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(BundleError, match="cannot be packed") as caught:
        pack(tmp_path / "nowhere", plan, tmp_path / "bundle.tar")
    assert caught.value.place.startswith(str(tmp_path / "nowhere"))


def test_a_path_that_ustar_cannot_hold_is_a_clear_error(tmp_path: Path, plan: Plan) -> None:
    workspace = make_workspace(tmp_path / "code", {f"{'a' * 60}/{'b' * 100}/{'c' * 38}": b""})
    with pytest.raises(BundleError, match="too long for an archive"):
        pack(workspace, plan, tmp_path / "bundle.tar")


# ---- hostile archives ---------------------------------------------------------------------------------------------

GOOD = entry("src/a.py", b"x = 1\n")
PLAIN = header_of("src/a.py", 0)

NAMES = {
    "absolute": "/etc/passwd",
    "parent": "../evil",
    "parent-inside": "src/../../evil",
    "parent-last": "src/..",
    "dot": "./evil",
    "dot-inside": "src/./evil",
    "double-slash": "src//evil",
    "trailing-slash": "src/",
    "hidden": ".bashrc",
    "hidden-directory": "src/.git/config",
    "backslash": "src\\evil",
    "drive": "C:evil",
    "stream": "a.py:evil",
    "space": "my file",
    "trailing-dot": "evil.",
    "newline": "evil\nfile",
    "tilde": "~root",
    "minus": "-rf",
    "wildcard": "*",
    "unicode-dots": "\u2024\u2024/evil",
    "unicode-umlaut": "größe.py",
    "unicode-full-width": "\uff45vil.py",
    "unicode-decomposed": "a\u0308.py",
    "device-con": "con",
    "device-nul": "src/NUL.txt",
    "device-com": "COM1",
    "long-path": "/".join(["x" * 70] * 3),
    "deep": "/".join("d" * 33),
    "bytecode": "src/evil.pyc",
    "cache": "src/__pycache__/evil.py",
    "excluded-top": "certs/key",
    "second-plan": "plan.json",
    "plan-yaml": "plan.yaml",
}

KINDS: dict[str, dict[str, Any]] = {
    "hard-link": {"type": tarfile.LNKTYPE, "linkname": "plan.json"},
    "symbolic-link": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "symbolic-link-inside": {"type": tarfile.SYMTYPE, "linkname": "plan.json"},
    "character-device": {"type": tarfile.CHRTYPE},
    "block-device": {"type": tarfile.BLKTYPE},
    "pipe": {"type": tarfile.FIFOTYPE},
    "directory": {"type": tarfile.DIRTYPE},
    "contiguous": {"type": tarfile.CONTTYPE},
    "old-style": {"type": tarfile.AREGTYPE},
    "sparse": {"type": tarfile.GNUTYPE_SPARSE},
    "gnu-long-name": {"type": tarfile.GNUTYPE_LONGNAME},
    "gnu-long-link": {"type": tarfile.GNUTYPE_LONGLINK},
    "pax": {"type": tarfile.XHDTYPE},
    "pax-global": {"type": tarfile.XGLTYPE},
    "unknown": {"type": b"Z"},
}

ODD_HEADERS = {
    "setuid": entry("src/a.py", mode=0o4755),
    "executable": entry("src/a.py", mode=0o755),
    "owner": entry("src/a.py", uid=1000),
    "group": entry("src/a.py", gid=1000),
    "owner-name": entry("src/a.py", uname="root"),
    "time": entry("src/a.py", mtime=1),
    "link-name": entry("src/a.py", linkname="x"),
    "gnu-magic": entry("src/a.py", form=tarfile.GNU_FORMAT),
    "no-magic": patched(PLAIN, 257, b"\0" * 8),
    "wrong-checksum": patched(PLAIN, 148, b"000000\0 ", checksum=False),
    "name-after-nul": patched(PLAIN, 20, b"evil"),
    "prefix-dots": patched(PLAIN, 345, b"../.."),
    "prefix-absolute": patched(PLAIN, 345, b"/etc"),
    "prefix-after-nul": patched(PLAIN, 400, b"evil"),
    "size-base-256": patched(PLAIN, 124, b"\x80" + b"\0" * 10 + b"\x01"),
    "size-negative": patched(PLAIN, 124, b"-0000000001"),
    "size-spaces": patched(PLAIN, 124, b"          0"),
    "size-not-octal": patched(PLAIN, 124, b"00000000009"),
    "size-huge": patched(PLAIN, 124, b"77777777777"),
    "size-unterminated": patched(PLAIN, 124, b"000000000000"),
    "trailing-bytes-in-header": patched(PLAIN, 505, b"evil"),
    "not-ascii": patched(PLAIN, 0, b"src/\xff.py\0\0"),
    "empty-name": patched(PLAIN, 0, b"\0" * 100),
    "padding": GOOD[:-1] + b"x",
}


def whole(head: bytes) -> dict[str, bytes]:
    """Archives that are wrong as a whole."""
    return {
        "empty": b"",
        "only-zeros": END,
        "no-plan": GOOD + END,
        "plan-not-first": GOOD + head + END,
        "plan-is-nonsense": entry("plan.json", b"nonsense") + END,
        "plan-is-empty": entry("plan.json") + END,
        "plan-has-mistakes": entry("plan.json", b'{"name":"x"}') + END,
        "no-end": head + GOOD,
        "half-end": head + GOOD + END[:512],
        "bytes-after-end": head + GOOD + END + b"x",
        "blocks-after-end": head + GOOD + END + END,
        "second-archive-after-end": head + END + GOOD + END,
        "one-zero-block-inside": head + END[:512] + GOOD + END,
        "short-header": head + GOOD[:100],
        "short-content": head + entry("src/a.py", b"x" * 2000)[:1500],
        "twice": head + GOOD + GOOD + END,
        "twice-by-case": head + entry("A.py") + entry("a.py") + END,
        "directories-by-case": head + entry("SRC/a.py") + entry("src/b.py") + END,
        "file-then-directory": head + entry("src") + entry("src/a.py") + END,
        "not-sorted": head + entry("b.py") + entry("a.py") + END,
        "gzip": b"\x1f\x8b\x08\0" + b"\0" * 600,
        "zip": b"PK\x03\x04" + b"\0" * 600,
        "text": b"#!/bin/sh\n" * 100,
    }


WHOLE = sorted(whole(b""))


def refused(tmp_path: Path, data: bytes, kind: archive.Kind = archive.BUNDLE) -> BundleError:
    """Checks that an archive is refused and that nothing is left of the attempt."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "bundle.tar").write_bytes(data)
    before = everything_below(tmp_path)
    with pytest.raises(BundleError) as caught:
        unpack(home / "bundle.tar", home / "out", kind)
    assert everything_below(tmp_path) == before
    assert caught.value.place == "bundle.tar"
    return caught.value


def everything_below(directory: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mode) for path in directory.rglob("*"))


def files_below(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


def test_the_archive_around_the_hostile_entries_is_good(tmp_path: Path, head: bytes, plan: Plan) -> None:
    (tmp_path / "bundle.tar").write_bytes(head + PLAIN + entry("src/b.py", b"x = 1\n") + END)
    assert unpack(tmp_path / "bundle.tar", tmp_path / "out") == plan
    assert (tmp_path / "out" / "src" / "b.py").read_bytes() == b"x = 1\n"


@pytest.mark.parametrize("case", sorted(NAMES))
def test_a_hostile_name_is_refused(tmp_path: Path, head: bytes, case: str) -> None:
    error = refused(tmp_path, head + entry(NAMES[case], b"evil") + END)
    assert "the entry" in error.message


@pytest.mark.parametrize("case", sorted(KINDS))
def test_only_regular_files_are_accepted(tmp_path: Path, head: bytes, case: str) -> None:
    error = refused(tmp_path, head + entry("src/evil.py", **KINDS[case]) + END)
    assert "not a regular file" in error.message


@pytest.mark.parametrize("case", sorted(ODD_HEADERS))
def test_an_odd_header_is_refused(tmp_path: Path, head: bytes, case: str) -> None:
    refused(tmp_path, head + ODD_HEADERS[case] + END)


@pytest.mark.parametrize("case", WHOLE)
def test_an_archive_that_is_wrong_as_a_whole_is_refused(tmp_path: Path, head: bytes, case: str) -> None:
    refused(tmp_path, whole(head)[case])


def test_a_link_and_a_write_through_it_are_refused(tmp_path: Path, head: bytes) -> None:
    link = entry("src", type=tarfile.SYMTYPE, linkname=str(tmp_path))
    refused(tmp_path, head + link + entry("src/evil.py", b"evil") + END)
    assert not (tmp_path / "evil.py").exists()


def test_a_pax_path_cannot_rename_a_file(tmp_path: Path, head: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("src/a.py")
        info.pax_headers = {"path": "../evil.py"}
        tar.addfile(info)
    refused(tmp_path, head + out.getvalue())


def test_entries_and_bytes_are_counted(tmp_path: Path, head: bytes) -> None:
    many = b"".join(entry(f"f{index}", b"12345") for index in range(4))
    (tmp_path / "a").mkdir()
    few = replace(archive.BUNDLE, most_entries=4)
    assert "at most 4 entries" in refused(tmp_path / "a", head + many + END, few).message
    small = replace(archive.BUNDLE, most_bytes=len(head.rstrip(b"\0")) + 12 - 512)
    (tmp_path / "b").mkdir()
    assert "holds more than" in refused(tmp_path / "b", head + many + END, small).message


def test_a_claimed_size_is_refused_before_it_is_read(tmp_path: Path, head: bytes) -> None:
    error = refused(tmp_path, head + header_of("big", names.MAX_TOTAL_BYTES) + END)
    assert "holds more than" in error.message


def test_the_target_must_be_new(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "bundle.tar").write_bytes(head + END)
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for target in ("out", "link"):
        with pytest.raises(BundleError, match="something already"):
            unpack(tmp_path / "bundle.tar", tmp_path / target)
    assert not (tmp_path / "elsewhere").exists()


def test_missing_paths_are_clear_errors(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(BundleError, match="cannot be unpacked"):
        unpack(tmp_path / "nothing.tar", tmp_path / "out")
    (tmp_path / "bundle.tar").write_bytes(head + END)
    with pytest.raises(BundleError, match="cannot be unpacked"):
        unpack(tmp_path / "bundle.tar", tmp_path / "no" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.tar"]


# ---- fuzz ---------------------------------------------------------------------------------------------------------

COMPONENTS = st.sampled_from(
    ["..", ".", "", "a", "A", "b.py", "/", "~", "src", "con", "x" * 90, "ä", "\\", "plan.json"]
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([bytes([code]) for code in b"0\x001234567LKSxgZ"]),
        "linkname": st.sampled_from(["/etc/passwd", "..", "a", "../../evil"]),
        "mode": st.integers(0, 0o7777),
        "mtime": st.integers(0, 10),
    },
)
FORMS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
PATHS = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)
ENTRIES = st.lists(st.tuples(PATHS, FORMS, FIELDS, st.binary(max_size=20)), max_size=4)


def nothing_outside(base: Path, data: bytes) -> None:
    """Unpacks, and checks that all that is new is either nothing or a directory of plain files."""
    home = base / "home"
    home.mkdir()
    (home / "bundle.tar").write_bytes(data)
    try:
        unpack(home / "bundle.tar", home / "out")
    except BundleError:
        assert sorted(path.name for path in home.iterdir()) == ["bundle.tar"]
    else:
        assert sorted(path.name for path in home.iterdir()) == ["bundle.tar", "out"]
        for path in (home / "out").rglob("*"):
            assert stat.S_ISREG(path.lstat().st_mode) or stat.S_ISDIR(path.lstat().st_mode)
    assert sorted(path.name for path in base.iterdir()) == ["home"]


@settings(max_examples=300, deadline=None)
@given(described=ENTRIES)
def test_nothing_is_written_outside_by_made_up_entries(
    tmp_path_factory: pytest.TempPathFactory,
    head: bytes,
    described: Sequence[tuple[str, Literal[0, 1, 2], dict[str, Any], bytes]],
) -> None:
    entries = []
    for path, form, fields, data in described:
        try:
            entries.append(entry(path, data, form=form, **fields))
        except ValueError:  # ustar cannot hold it
            continue
    nothing_outside(tmp_path_factory.mktemp("fuzz"), head + b"".join(entries) + END)


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_nothing_is_written_outside_by_changed_bytes(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, changes: Sequence[tuple[int, int]]
) -> None:
    data = bytearray(head + GOOD + entry("src/b/c.py", b"y") + END)
    for position, value in changes:
        data[position % len(data)] = value
    nothing_outside(tmp_path_factory.mktemp("fuzz"), bytes(data))
