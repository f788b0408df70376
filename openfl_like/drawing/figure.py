"""A drawn figure with its caption, as files and as a part of a page."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure

from openfl_like.drawing.placed import PageFigure
from openfl_like.drawing.style import STYLE

_DPI = 96
"""Of a page."""


@dataclass(frozen=True, slots=True)
class DrawnFigure:
    """A figure of a report.

    Attributes:
        name: Of its files, without suffix.
        caption: What it shows.
        figure: The drawing.
    """

    name: str
    caption: str
    figure: Figure

    def drawing(self, suffix: Literal["png", "svg"]) -> bytes:
        """Return it as a file of this kind; the same figure is the same file."""
        options: dict[str, Any] = {"dpi": 200} if suffix == "png" else {"metadata": {"Date": None}}
        drawing = io.BytesIO()
        with mpl.rc_context(STYLE):
            self.figure.savefig(drawing, format=suffix, **options)
        return drawing.getvalue()

    def save(self, folder: Path) -> list[str]:
        """Write it as PNG and SVG, and return the names of the files."""
        kinds: tuple[Literal["png", "svg"], ...] = ("png", "svg")
        for suffix in kinds:
            (folder / f"{self.name}.{suffix}").write_bytes(self.drawing(suffix))
        return [f"{self.name}.{suffix}" for suffix in kinds]

    def on_page(self) -> PageFigure:
        """Return it as a part of a page, as wide as it was drawn."""
        width_px = math.ceil(self.figure.get_figwidth() * _DPI)
        return PageFigure(self.name, self.caption, self.drawing("svg"), width_px)
