"""Sending written pages to the disk while more are written, so that fsync has little left to wait for."""

import ctypes
from collections.abc import Callable

WRITEBACK_BYTES = 8 << 20
_START_WRITE = 2  # SYNC_FILE_RANGE_WRITE: begin, do not wait


def _find() -> Callable[[int, int, int, int], int] | None:
    try:
        function = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError):
        return None  # not Linux: fsync alone does it
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    found: Callable[[int, int, int, int], int] = function
    return found


_SYNC_FILE_RANGE = _find()


def start_writeback(descriptor: int) -> None:
    """Begin to write a file's dirty pages; a hint, so its failure does not matter."""
    if _SYNC_FILE_RANGE is not None:
        _SYNC_FILE_RANGE(descriptor, 0, 0, _START_WRITE)
