"""Landlock: a process gives up files, TCP, signals and the memory of processes outside, as far as its kernel knows how.

What was given up is refused to all that the process starts as well. The numbers are those of linux/landlock.h.
"""

import ctypes
import os
import struct
from collections.abc import Mapping, Sequence
from enum import IntFlag, StrEnum
from pathlib import Path

from openfl_like.processes.sandbox.kernel import LINUX, system_call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # alike on every architecture
_ASK_VERSION = 1
_RULE_PATH_BENEATH = 1
_BIND_AND_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
NETWORK_ABI, SCOPE_ABI, TRUNCATE_ABI = 4, 6, 3


class Right(IntFlag):
    """What may be done with a file or in a folder."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


_SINCE: Mapping[int, Right] = {2: Right.REFER, TRUNCATE_ABI: Right.TRUNCATE, 5: Right.IOCTL_DEV}
_OF_THE_FIRST = Right((1 << 13) - 1)
_OF_FILES = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE | Right.IOCTL_DEV
_READ = Right.EXECUTE | Right.READ_FILE | Right.READ_DIR
_EXCHANGE = Right.READ_FILE | Right.WRITE_FILE | Right.TRUNCATE | Right.MAKE_REG | Right.REMOVE_FILE


class Access(StrEnum):
    """What a process keeps of its rights below a path.

    Attributes:
        LIST: See names.
        READ: Read files, list folders, run programs.
        EXCHANGE: Read, write, make and remove plain files: whoever is not confined looks there, too, and must find no
            link that leads it elsewhere.
        NAMED: As ``EXCHANGE``, but only what it knows the name of: names cannot be listed.
        OWN: Everything but making devices.
        DEVICE: Read, write and control a device.
    """

    LIST = "list"
    READ = "read"
    EXCHANGE = "exchange"
    NAMED = "named"
    OWN = "own"
    DEVICE = "device"


RIGHTS: Mapping[Access, Right] = {
    Access.LIST: Right.READ_DIR,
    Access.READ: _READ,
    Access.EXCHANGE: _EXCHANGE | Right.READ_DIR,
    Access.NAMED: _EXCHANGE,
    Access.OWN: (_OF_THE_FIRST | Right.REFER | Right.TRUNCATE) & ~(Right.MAKE_CHAR | Right.MAKE_BLOCK),
    Access.DEVICE: Right.READ_FILE | Right.WRITE_FILE | Right.READ_DIR | Right.TRUNCATE | Right.IOCTL_DEV,
}


def abi() -> int:
    """Return which version of Landlock this kernel has; 0 for none, or for one that is switched off."""
    if not LINUX:
        return 0
    try:
        return system_call(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def restrict(rules: Sequence[tuple[Path, Access]], version: int) -> None:
    """Give up everything but these rules in the calling thread, and in all that it starts.

    Args:
        rules: Path and what is kept below it; what is not there is left out.
        version: What `abi` said, at least 1; no_new_privs must have been set.

    Raises:
        OSError: If the kernel refuses.
    """
    handled = _OF_THE_FIRST
    for since, right in _SINCE.items():
        handled |= right if version >= since else Right(0)
    ruleset = system_call(_CREATE_RULESET, *_sized(_attributes(handled, version)), 0)
    try:
        for path, access in rules:
            _allow(ruleset, path, RIGHTS[access] & handled)
        system_call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _attributes(handled: Right, version: int) -> bytes:
    """Return struct landlock_ruleset_attr as this version knows it."""
    network = struct.pack("=Q", _BIND_AND_CONNECT_TCP) if version >= NETWORK_ABI else b""
    scoped = struct.pack("=Q", _ABSTRACT_SOCKETS_AND_SIGNALS) if version >= SCOPE_ABI else b""
    return struct.pack("=Q", handled) + network + scoped


def _allow(ruleset: int, path: Path, rights: Right) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # what cannot be reached need not be allowed
        return
    try:
        allowed = rights if path.is_dir() else rights & _OF_FILES
        if allowed:
            rule, _ = _sized(struct.pack("=Qi", allowed, descriptor))
            system_call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _sized(content: bytes) -> tuple[ctypes.Array[ctypes.c_char], int]:
    return ctypes.create_string_buffer(content, len(content)), len(content)
