"""What the callbacks of an experiment have written, as one archive between Director and user."""

import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from openfl_like.errors import BundleError, ConflictError, NotFoundError
from openfl_like.plan.bundles.archive import BLOCK, END, ArchiveReader, Kind, header_of
from openfl_like.plan.bundles.bundle import create_within
from openfl_like.plan.names import NameSet, rule_against
from openfl_like.plan.schema import MOST_CALLBACKS

INDEX = "index.json"
"""The first entry: the names of the others."""
LEFT_OUT = "left-out.txt"
"""In the folder of results: which files were left out of the archive, and why; callbacks write into folders of it."""
MOST_NAMED = 20
_BELOW = "results/"
"""Before the name of each: at the top of an archive, a folder called ``save`` is not allowed."""
MOST_FILES = 4096
MOST_BYTES = MOST_CALLBACKS * (256 << 20) + (1 << 20)
"""As much as all callbacks may write, and the index."""
MOST_ARCHIVE_BYTES = MOST_BYTES + 3 * BLOCK * (MOST_FILES + 2)
"""Of the archive itself: a header for each file, and what fills its last block."""
_PIECE_BYTES = 1 << 20
RESULTS_KIND = Kind("archive of results", INDEX, MOST_BYTES, MOST_FILES + 1)


def write_results(folder: Path, out: Path) -> None:
    """Pack the files below a folder, each as it is when its turn comes; callbacks may be writing meanwhile.

    Names that begin with a dot are of files that are not complete, and links are left out. What an archive cannot hold
    is left out, too: files with other names than it may have, and those of a callback beyond its share where there are
    too many; the file `LEFT_OUT` says which.

    Raises:
        NotFoundError: If there is no file.
        ConflictError: If files grow meanwhile beyond what an archive may hold.
    """
    names, left_out = _chosen(folder)
    if not (names or left_out):
        raise NotFoundError(
            "there are no results", cure="the plan names callbacks under 'callbacks'; files come with the first round"
        )
    note = _note(left_out) if left_out else b""
    names = sorted([*names, *([LEFT_OUT] if note else [])])
    left = MOST_BYTES - (1 << 20)
    with out.open("wb") as archive:
        _append(archive, INDEX, io.BytesIO(json.dumps(names).encode()), left)
        for name in names:
            with io.BytesIO(note) if name == LEFT_OUT else _opened(folder / name) as file:
                left -= _append(archive, f"{_BELOW}{name}", file, left)
        archive.write(END)


def _chosen(folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the files that an archive may hold, and the others with what is against them; first come small folders."""
    folders: dict[str, list[str]] = {}
    for relative in sorted(_files(folder)):
        folders.setdefault(relative.partition("/")[0], []).append(relative)
    known, names, left_out = NameSet(MOST_FILES), list[str](), list[tuple[str, str]]()
    files, size = MOST_FILES - 1, MOST_BYTES - (2 << 20)
    for place, group in enumerate(sorted(folders.values(), key=len)):
        others = len(folders) - place
        share, room, taken = files // others, size // others, 0
        for relative in group:
            own = _size(folder / relative)
            against = rule_against(f"{_BELOW}{relative}")
            if not against and (share < 1 or taken + own > room):
                against = "its folder has more than an archive can hold"
            against = against or known.add(relative)
            if against:
                left_out.append((relative, against))
                continue
            names.append(relative)
            share, taken, files = share - 1, taken + own, files - 1
        size -= taken
    return names, left_out


def _note(left_out: Sequence[tuple[str, str]]) -> bytes:
    """Say which files were left out, the first ones by their names; whatever is no plain character is written out."""
    lines = [f"{ascii(name)[1:-1][:200]}: {against}" for name, against in left_out[:MOST_NAMED]]
    more = [f"and {len(left_out) - MOST_NAMED:,} more"] if len(left_out) > MOST_NAMED else []
    return "".join(f"{line}\n" for line in [*lines, *more]).encode()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _files(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            if not (name.startswith(".") or path.is_symlink()):
                yield path.relative_to(folder).as_posix()


def _opened(path: Path) -> BinaryIO:
    """Open a plain file; one that has gone meanwhile is empty."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return io.BytesIO()
    file = os.fdopen(descriptor, "rb")
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return file
    file.close()
    return io.BytesIO()


def _append(archive: BinaryIO, path: str, file: BinaryIO, most: int) -> int:
    """Copy a file to the end of an archive; its size is known when it has been read to its end.

    Raises:
        ConflictError: If it has more bytes than it may.
    """
    start, size = archive.tell(), 0
    archive.write(header_of(path, 0))
    while piece := file.read(_PIECE_BYTES):
        size += len(piece)
        if size > most:
            raise ConflictError(f"the results have more than {MOST_BYTES - (1 << 20):,} bytes", place=path)
        archive.write(piece)
    archive.write(b"\0" * (-size % BLOCK))
    archive.seek(start)
    archive.write(header_of(path, size))
    archive.seek(0, os.SEEK_END)
    return size


def read_results(archive: Path, into: Path) -> list[Path]:
    """Extract an archive that may come from anybody into a folder that is new or empty; return its files.

    Raises:
        BundleError: If it is not exactly what `write_results` would write; nothing is left behind.
        ConflictError: If there is something in the folder.
    """
    if into.is_symlink() or (into.exists() and (not into.is_dir() or any(into.iterdir()))):
        raise ConflictError("there is something already where the results should go", place=str(into))
    into.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".results-", dir=into.parent))
    try:
        with archive.open("rb") as file:
            names = list(_extract(ArchiveReader(file, "results", RESULTS_KIND), staging))
        staging.chmod(0o755)
        staging.replace(into)  # an empty folder gives way
    except OSError as error:
        raise BundleError(f"the results cannot be unpacked: {error.strerror or error}", place=str(into)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return [into / name for name in names]


def _extract(reader: ArchiveReader, directory: Path) -> Iterator[str]:
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for path, size in reader.entries():
            if path == INDEX:
                for _ in reader.content(path, size):
                    pass
                continue
            name = path.removeprefix(_BELOW)
            if name == path:
                raise BundleError(f"the entry {path[:300]!r} is refused: results are below {_BELOW}", place="results")
            with create_within(root, name) as out:
                for piece in reader.content(path, size):
                    out.write(piece)
                os.fchmod(out.fileno(), 0o644)
            yield name
    finally:
        os.close(root)
