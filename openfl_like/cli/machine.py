"""How the state of a machine is shown to people."""


def percent(value: float | None) -> str:
    """Gives a share: ``12 %``; nothing for what is not known."""
    return "" if value is None else f"{value:.0f} %"


def gibibytes(used: int | None, total: int | None) -> str:
    """Gives how much is taken: ``1.0 of 4.0 GiB``; nothing for what is not known."""
    return f"{used / 2**30:.1f} of {total / 2**30:.1f} GiB" if used is not None and total else ""
