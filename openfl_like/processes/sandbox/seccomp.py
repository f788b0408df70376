"""A seccomp filter: system calls that no training needs are refused by the kernel, whoever makes them.

What is refused reaches other processes, or the machine, or goes round Landlock: it knows paths and TCP, but neither
UDP, nor a queue of requests (io_uring), nor file handles. The filter is a program of the classic Berkeley Packet
Filter; numbers are those of linux/seccomp.h, linux/bpf_common.h, and of each architecture.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from openfl_like.processes.sandbox.kernel import LINUX, process_control

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _FAIL_WITH, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _RETURN, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x20, 0x06, 0x15, 0x35, 0x45
_AT_NUMBER, _AT_ARCHITECTURE, _AT_FIRST_ARGUMENT, _AT_SECOND_ARGUMENT = 0, 4, 16, 24
_X32 = 0x40000000
"""From here on x86-64 has a second set of numbers for the same calls."""
_NEW_NAMESPACES = 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00020000


@dataclass(frozen=True, slots=True)
class Numbers:
    """A system call's number on each architecture; None where there is none."""

    x86_64: int | None
    aarch64: int | None


_SOCKET, _CLONE, _CLONE3 = Numbers(41, 198), Numbers(56, 220), Numbers(435, 435)
_CLONE_THREAD = 0x00010000
_KILL, _TGKILL, _FCNTL, _IOCTL = Numbers(62, 129), Numbers(234, 131), Numbers(72, 25), Numbers(16, 29)
_OWNERS_BY_FCNTL, _OWNERS_BY_IOCTL = (8, 15), (0x8901, 0x8902)
"""Who is signalled when a file has something to read: F_SETOWN, F_SETOWN_EX; FIOSETOWN, SIOCSPGRP."""
_PRCTL, _BOUND = Numbers(157, 167), (1, 4)
"""Whoever could change the signal that comes with the end of its parent (PR_SET_PDEATHSIG) would outlive it, and
whoever could hide (PR_SET_DUMPABLE) would not be looked at."""
_SEALED: Mapping[str, Numbers] = {
    "fork": Numbers(57, None), "vfork": Numbers(58, None),
    "socket": Numbers(41, 198), "socketpair": Numbers(53, 199),
    "tkill": Numbers(200, 130), "pidfd_send_signal": Numbers(424, 424),
    "rt_sigqueueinfo": Numbers(129, 138), "rt_tgsigqueueinfo": Numbers(297, 240),
    "setsid": Numbers(112, 157), "setpgid": Numbers(109, 154),
}  # fmt: skip
"""Calls that fail with EPERM in a process that has nothing to do with others."""
REFUSED: Mapping[str, Numbers] = {
    # other processes
    "ptrace": Numbers(101, 117), "process_vm_readv": Numbers(310, 270), "process_vm_writev": Numbers(311, 271),
    "process_madvise": Numbers(440, 440), "kcmp": Numbers(312, 272), "pidfd_getfd": Numbers(438, 438),
    # keys that the kernel keeps
    "add_key": Numbers(248, 217), "request_key": Numbers(249, 218), "keyctl": Numbers(250, 219),
    # ways round the walls
    "io_uring_setup": Numbers(425, 425), "io_uring_enter": Numbers(426, 426), "io_uring_register": Numbers(427, 427),
    "open_by_handle_at": Numbers(304, 265), "fanotify_init": Numbers(300, 262), "userfaultfd": Numbers(323, 282),
    "unshare": Numbers(272, 97), "setns": Numbers(308, 268), "chroot": Numbers(161, 51),
    "pivot_root": Numbers(155, 41), "mount": Numbers(165, 40), "umount2": Numbers(166, 39),
    "open_tree": Numbers(428, 428), "move_mount": Numbers(429, 429), "fsopen": Numbers(430, 430),
    "fsconfig": Numbers(431, 431), "fsmount": Numbers(432, 432), "fspick": Numbers(433, 433),
    "mount_setattr": Numbers(442, 442), "open_tree_attr": Numbers(467, 467),
    # attributes of files, of which Landlock knows nothing
    "setxattr": Numbers(188, 5), "lsetxattr": Numbers(189, 6), "fsetxattr": Numbers(190, 7),
    "removexattr": Numbers(197, 14), "lremovexattr": Numbers(198, 15), "fremovexattr": Numbers(199, 16),
    "setxattrat": Numbers(463, 463), "removexattrat": Numbers(466, 466),
    # what happens in folders that cannot be read, and memory without a file: both reach other workers
    "inotify_init": Numbers(253, None), "inotify_init1": Numbers(294, 26), "inotify_add_watch": Numbers(254, 27),
    "shmget": Numbers(29, 194), "shmat": Numbers(30, 196), "msgget": Numbers(68, 186), "semget": Numbers(64, 190),
    # the machine
    "bpf": Numbers(321, 280), "perf_event_open": Numbers(298, 241), "init_module": Numbers(175, 105),
    "finit_module": Numbers(313, 273), "delete_module": Numbers(176, 106), "kexec_load": Numbers(246, 104),
    "kexec_file_load": Numbers(320, 294), "reboot": Numbers(169, 142), "swapon": Numbers(167, 224),
    "swapoff": Numbers(168, 225), "sethostname": Numbers(170, 161), "setdomainname": Numbers(171, 162),
    "settimeofday": Numbers(164, 170), "clock_settime": Numbers(227, 112), "adjtimex": Numbers(159, 171),
    "clock_adjtime": Numbers(305, 266), "acct": Numbers(163, 89), "quotactl": Numbers(179, 60),
    "quotactl_fd": Numbers(443, 443), "syslog": Numbers(103, 116), "iopl": Numbers(172, None),
    "ioperm": Numbers(173, None),
}  # fmt: skip
"""Calls that fail with EPERM."""
WITHOUT_EFFECT: Mapping[str, Numbers] = {
    "chmod": Numbers(90, None), "fchmod": Numbers(91, 52), "fchmodat": Numbers(268, 53), "fchmodat2": Numbers(452, 452),
    "chown": Numbers(92, None), "fchown": Numbers(93, 55), "lchown": Numbers(94, None), "fchownat": Numbers(260, 54),
}  # fmt: skip
"""Calls that seem to succeed and do nothing.

Landlock has no say in modes and owners, so a worker could open the site's key to all. Refused, they would break what
sets the mode of a file of its own, such as `shutil.copy` and joblib.
"""
_OF_ITSELF: Mapping[str, Numbers] = {
    "prlimit64": Numbers(302, 261), "sched_setaffinity": Numbers(203, 122), "sched_setscheduler": Numbers(144, 119),
    "sched_setparam": Numbers(142, 118), "sched_setattr": Numbers(314, 274), "migrate_pages": Numbers(256, 238),
    "move_pages": Numbers(279, 239),
}  # fmt: skip
"""Calls of which the first argument is a process: 0, the caller itself, is taken; others fail with EPERM."""
_PRIORITIES: Mapping[str, tuple[Numbers, int]] = {
    "setpriority": (Numbers(141, 140), 0), "ioprio_set": (Numbers(251, 30), 1),
}  # fmt: skip
"""Calls of which the first argument says what the second one is, and which value is a process; a group or a user is not
taken: there is more in it than the worker."""
_AUDIT_NAMES: Mapping[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def supported() -> bool:
    """Whether there is a filter for this machine."""
    return LINUX and platform.machine() in _AUDIT_NAMES


def install() -> None:
    """Install the filter for the calling thread, and all that it starts; no_new_privs must have been set.

    Raises:
        OSError: If the kernel has none.
    """
    _install(program_for(platform.machine()))


def seal_off() -> None:
    """Have the calling thread, and those that it starts, start no process, open no socket and signal nobody else.

    It ends with its parent, if it has asked for that before, and with its group.

    After `install`. Some of it is closed by Landlock as well, from Linux 6.12 on.

    Raises:
        OSError: If the kernel has no filters.
    """
    _install(sealing_program(platform.machine(), os.getpid()))


def _install(program: bytes) -> None:
    held = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    process_control(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.create_string_buffer(head, len(head)))


def program_for(machine: str) -> bytes:
    """Return the filter for an architecture; a call by another one's numbers ends the process."""
    program = _instruction(_LOAD, _AT_ARCHITECTURE) + _instruction(_IF_EQUAL, _AUDIT_NAMES[machine], yes=1)
    program += _answer(_KILL_PROCESS) + _instruction(_LOAD, _AT_NUMBER)
    if machine == "x86_64":
        program += _instruction(_IF_AT_LEAST, _X32, no=1) + _failure(errno.ENOSYS)
    first = _instruction(_LOAD, _AT_FIRST_ARGUMENT)
    refused = _failure(errno.EPERM)
    blocks = [(numbers, refused) for numbers in REFUSED.values()]
    blocks += [(numbers, _failure(0)) for numbers in WITHOUT_EFFECT.values()]
    blocks += [
        (_SOCKET, first + _instruction(_IF_EQUAL, socket.AF_UNIX, yes=1) + refused + _answer(_ALLOW)),
        (_CLONE, first + _instruction(_IF_ANY_BIT, _NEW_NAMESPACES, no=1) + refused + _answer(_ALLOW)),
        (_CLONE3, _failure(errno.ENOSYS)),  # its flags are in memory, where a filter cannot look; then clone is used
    ]
    itself = _instruction(_IF_EQUAL, 0, yes=1) + refused + _answer(_ALLOW)
    blocks += [(numbers, first + itself) for numbers in _OF_ITSELF.values()]
    second = _instruction(_LOAD, _AT_SECOND_ARGUMENT)
    blocks += [
        (numbers, first + _instruction(_IF_EQUAL, process, no=2) + second + itself)
        for numbers, process in _PRIORITIES.values()
    ]
    for numbers, block in blocks:
        number = numbers.x86_64 if machine == "x86_64" else numbers.aarch64
        if number is not None:
            program += _instruction(_IF_EQUAL, number, no=len(block) // 8) + block
    return program + _answer(_ALLOW)


def sealing_program(machine: str, itself: int) -> bytes:
    """Return the filter that lets a process have threads, and nothing to do with other processes but to end with them.

    Args:
        machine: The architecture; a call by another one's numbers has ended the process before.
        itself: The process, which may signal itself.
    """
    refused, first = _failure(errno.EPERM), _instruction(_LOAD, _AT_FIRST_ARGUMENT)
    second = _instruction(_LOAD, _AT_SECOND_ARGUMENT)
    thread = first + _instruction(_IF_ANY_BIT, _CLONE_THREAD, yes=1) + refused + _answer(_ALLOW)
    own = first + _instruction(_IF_EQUAL, itself, yes=1) + refused + _answer(_ALLOW)
    blocks = [(numbers, refused) for numbers in _SEALED.values()]
    bound = first + b"".join(_instruction(_IF_EQUAL, value, no=1) + refused for value in _BOUND) + _answer(_ALLOW)
    blocks += [(_CLONE, thread), (_KILL, own), (_TGKILL, own), (_PRCTL, bound)]
    for numbers, values in ((_FCNTL, _OWNERS_BY_FCNTL), (_IOCTL, _OWNERS_BY_IOCTL)):
        looked = b"".join(_instruction(_IF_EQUAL, value, no=1) + refused for value in values)
        blocks.append((numbers, second + looked + _answer(_ALLOW)))
    program = _instruction(_LOAD, _AT_NUMBER)
    for numbers, block in blocks:
        number = numbers.x86_64 if machine == "x86_64" else numbers.aarch64
        if number is not None:
            program += _instruction(_IF_EQUAL, number, no=len(block) // 8) + block
    return program + _answer(_ALLOW)


def _instruction(code: int, operand: int, *, yes: int = 0, no: int = 0) -> bytes:
    """Return an instruction; a condition skips as many further ones as `yes` or `no` says."""
    return struct.pack("=HBBI", code, yes, no, operand)


def _answer(verdict: int) -> bytes:
    return _instruction(_RETURN, verdict)


def _failure(number: int) -> bytes:
    return _answer(_FAIL_WITH | number)
