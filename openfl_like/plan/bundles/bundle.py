"""The workspace bundle: what a user submits and every site unpacks.

A bundle is an uncompressed archive (so nothing can inflate; see `archive`), and there is exactly one for a plan and a
workspace: ``plan.json`` (the frozen plan) first, then the files sorted by path.

What of a workspace goes into it is an allow list, see `packing`. Anything that breaks a rule of `names` is refused, by
`pack` and by `unpack` alike.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from openfl_like.errors import BundleError, PlanError
from openfl_like.plan.bundles.archive import BLOCK, BUNDLE, END, ArchiveReader, Kind, header_of
from openfl_like.plan.bundles.packing import Packing, packing_of, too_large
from openfl_like.plan.digest import freeze, thaw
from openfl_like.plan.names import PLAN_NAME
from openfl_like.plan.schema import Plan

STAGING = ".unpack-"
"""Beginning of the name of a directory in which a bundle is unpacked; one that was killed over it leaves it behind."""


def pack(
    workspace: Path, plan: Plan, out: Path, added: Mapping[str, Path] | None = None, kind: Kind = BUNDLE
) -> Packing:
    """Write the bundle of a workspace; the same plan and files give the same bytes.

    Args:
        workspace: The directory with the code.
        plan: The plan that goes with it.
        out: The archive; replaced if it exists, untouched on an error.
        added: Path in the workspace -> a file from elsewhere that goes there; the workspace must not have it.
        kind: How much may be in it.

    Returns:
        What is in it.

    Raises:
        BundleError: If a file breaks a rule (a link, an odd name, a secret, too much in all); the message names it.
    """
    packing = packing_of(workspace, plan, added, kind)
    partial = out.with_name(f".{out.name}.partial")
    try:
        with partial.open("wb") as archive:
            total = _append(archive, PLAN_NAME, freeze(plan))
            for file in packing.files:
                origin = (added or {}).get(file.path, workspace / file.path)
                total += _append(archive, file.path, _content(origin, total, kind.most_bytes))
            archive.write(END)
        partial.replace(out)
    except OSError as error:
        place = str(error.filename or workspace)
        raise BundleError(f"the workspace cannot be packed: {error.strerror or error}", place=place) from error
    finally:
        partial.unlink(missing_ok=True)
    return packing


def unpack(archive: Path, into: Path, kind: Kind = BUNDLE) -> Plan:
    """Extract a bundle that may come from anybody.

    Args:
        archive: The bundle.
        into: A directory that does not exist yet; it appears only when everything is in it, with mode 0700.
        kind: How much may be in it.

    Returns:
        The plan of the bundle; check it with `check_plan` before it is used.

    Raises:
        BundleError: If the archive is not exactly what `pack` would write; the message names entry and rule, and
            nothing is left behind.
    """
    if into.exists() or into.is_symlink():
        raise BundleError("there is something already where the bundle should go", place=str(into))
    try:
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=into.parent))  # mode 0700
        try:
            with archive.open("rb") as file:
                plan = _extract(file, staging, archive.name, kind)
            staging.rename(into)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        place = str(error.filename or archive)
        raise BundleError(f"the bundle cannot be unpacked: {error.strerror or error}", place=place) from error
    return plan


def holds(archive: Path, workspace: Path, plan: Path) -> bool:
    """Whether a directory still has what a bundle has; more files in it do not matter.

    Args:
        archive: A bundle that was unpacked before.
        workspace: Where to.
        plan: Where its plan was written, too.

    Raises:
        BundleError: If the archive is none.
    """
    try:
        with archive.open("rb") as file:
            reader = ArchiveReader(file, archive.name, BUNDLE)
            for path, size in reader.entries():
                data = b"".join(reader.content(path, size))
                if (workspace / path).is_symlink() or (workspace / path).read_bytes() != data:
                    return False
                if path == PLAN_NAME and not _frozen(plan.read_bytes(), data):
                    return False
    except OSError:
        return False
    return True


def _frozen(found: bytes, packed: bytes) -> bool:
    """Whether a frozen plan is the one that was packed, which nearly always has the same bytes."""
    return found == packed or found == freeze(thaw(packed))


# ---- packing ------------------------------------------------------------------------------------------------------


def _content(path: Path, total: int, most_bytes: int) -> bytes:
    limit = most_bytes - total
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BundleError("the file was exchanged for something else while it was packed", place=str(path))
        data = file.read(limit + 1)
    if len(data) > limit:
        raise too_large(path, most_bytes)
    return data


def _append(archive: BinaryIO, path: str, data: bytes) -> int:
    try:
        header = header_of(path, len(data))
    except ValueError as error:
        raise BundleError("the path is too long for an archive", place=path) from error
    archive.write(header)
    archive.write(data)
    archive.write(b"\0" * (-len(data) % BLOCK))
    return len(data)


# ---- unpacking ----------------------------------------------------------------------------------------------------


def _extract(file: BinaryIO, directory: Path, place: str, kind: Kind) -> Plan:
    reader = ArchiveReader(file, place, kind)
    frozen = b""
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for path, size in reader.entries():
            with create_within(root, path) as out:
                for piece in reader.content(path, size):
                    out.write(piece)
                    if path == PLAN_NAME:
                        frozen += piece
                os.fchmod(out.fileno(), 0o644)
    finally:
        os.close(root)
    try:
        return thaw(frozen)
    except PlanError as error:
        raise BundleError(f"the bundle's {PLAN_NAME} is not a valid plan: {error}", place=place) from error


def create_within(root: int, path: str) -> BinaryIO:
    """Open a new file below a directory descriptor; no step follows a link."""
    *parents, name = path.split("/")
    current = os.dup(root)
    try:
        for parent in parents:
            with contextlib.suppress(FileExistsError):  # made by an entry before, or else the next line fails
                os.mkdir(parent, 0o755, dir_fd=current)
            inner = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = inner
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return os.fdopen(os.open(name, flags, 0o600, dir_fd=current), "wb")
    finally:
        os.close(current)
