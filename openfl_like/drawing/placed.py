"""A figure as a part of a page."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PageFigure:
    """A figure on a page.

    Attributes:
        name: Of its file, without suffix.
        caption: What it shows.
        svg: The drawing.
        width_px: How wide it is at most.
    """

    name: str
    caption: str
    svg: bytes
    width_px: int
