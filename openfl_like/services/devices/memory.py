"""What a machine has, asked of its system without a monitor."""

import os


def memory_total_bytes() -> int | None:
    """Return the main memory of this machine; None if the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
