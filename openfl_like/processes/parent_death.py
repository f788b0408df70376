"""What ties a child process to its parent, whatever way the parent dies."""

import ctypes
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies: one that hangs would never see its input end."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux only; elsewhere the closed input has to do
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
