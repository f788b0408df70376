"""What the callbacks of an experiment have written, as one archive between Director and user."""

import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from openfl_like.errors import BundleError, ConflictError, NotFoundError
from openfl_like.plan.bundles.archive import BLOCK, END, ArchiveReader, Kind, header_of
from openfl_like.plan.bundles.bundle import create_within
from openfl_like.plan.names import rule_against
from openfl_like.plan.schema import MOST_CALLBACKS

INDEX = "index.json"
"""The first entry: the names of the others."""
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

    Names that begin with a dot are of files that are not complete, and links are left out.

    Raises:
        NotFoundError: If there is no file.
        ConflictError: If there are more files, or larger ones, than an archive may hold, or one that it cannot name.
    """
    names = sorted(_files(folder)) if folder.is_dir() else []
    if not names:
        raise NotFoundError(
            "there are no results", cure="the plan names callbacks under 'callbacks'; files come with the first round"
        )
    if len(names) > MOST_FILES:
        raise ConflictError(f"there are {len(names):,} files, an archive holds {MOST_FILES:,}", place=str(folder.name))
    left = MOST_BYTES - (1 << 20)
    with out.open("wb") as archive:
        _append(archive, INDEX, io.BytesIO(json.dumps(names).encode()), left)
        for name in names:
            with _opened(folder / name) as file:
                left -= _append(archive, f"{_BELOW}{name}", file, left)
        archive.write(END)


def _files(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            relative = path.relative_to(folder).as_posix()
            if name.startswith(".") or path.is_symlink():
                continue
            rule = rule_against(f"{_BELOW}{relative}")
            if rule:
                raise ConflictError(f"the file {relative[:300]!r} cannot be sent: {rule}")
            yield relative


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
