"""A drawn figure with its caption, as files and as a part of a page."""

import io
import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from openfl_like.cli.output.page import PageFigure
from openfl_like.cli.output.pictures import STYLE

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

    def save(self, folder: Path) -> list[str]:
        """Write it as PNG and SVG, and return the names of the files."""
        with mpl.rc_context(STYLE):
            self.figure.savefig(folder / f"{self.name}.png", dpi=200)
            self.figure.savefig(folder / f"{self.name}.svg", metadata={"Date": None})
        return [f"{self.name}.png", f"{self.name}.svg"]

    def on_page(self) -> PageFigure:
        """Return it as a part of a page, as wide as it was drawn."""
        drawing = io.BytesIO()
        with mpl.rc_context(STYLE):
            self.figure.savefig(drawing, format="svg", metadata={"Date": None})
        width_px = math.ceil(self.figure.get_figwidth() * _DPI)
        return PageFigure(self.name, self.caption, drawing.getvalue(), width_px)
