"""System calls that Python has no function for."""

import ctypes
import os
import struct
import sys

_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION = 0x20080522
_READ_ANY_FILE = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
LINUX = sys.platform == "linux"
"""Elsewhere the same numbers mean something else."""


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def system_call(number: int, *arguments: int | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a system call; raises OSError where it fails."""
    return _checked(_LIBC.syscall(ctypes.c_long(number), *map(_argument, arguments)))


def process_control(option: int, *arguments: int | ctypes.Array[ctypes.c_char]) -> int:
    """Call prctl; raises OSError where it fails."""
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return _checked(_LIBC.prctl(ctypes.c_int(option), *map(_argument, padded)))


def forbid_new_privileges() -> None:
    """Have no program that is run from now on get more rights than this process has (setuid, file capabilities)."""
    process_control(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Give up what root may do beyond an ordinary user, but for reading data that belongs to others.

    Without them root cannot read the memory of the kernel (/proc/kcore), nor trace a process that has them. Who is not
    root has none. With `forbid_new_privileges` no program gets them back.
    """
    head = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0), 8)
    held = ctypes.create_string_buffer(24)
    _checked(_LIBC.capget(head, held))
    permitted = struct.unpack("=6I", held.raw)[1]  # effective, permitted, inheritable; then the same of the upper half
    kept = permitted & _READ_ANY_FILE
    process_control(_PR_CAP_AMBIENT, _CLEAR_ALL)
    _checked(_LIBC.capset(head, ctypes.create_string_buffer(struct.pack("=6I", kept, kept, 0, 0, 0, 0), 24)))


def _argument(value: int | ctypes.Array[ctypes.c_char] | None) -> ctypes.c_long | ctypes.c_void_p:
    if isinstance(value, int):
        return ctypes.c_long(value)
    return ctypes.c_void_p(None if value is None else ctypes.addressof(value))
