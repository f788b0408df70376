"""How every picture of this project looks."""

from typing import Any

HUES = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""Ten colours that people with any kind of colour vision can tell apart (Petroff 2021, arXiv:2107.02270)."""
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "openfl_like",
    "svg.fonttype": "none",
}
"""For `matplotlib.rc_context`; the same picture is the same file."""
