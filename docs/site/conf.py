"""How the pages become a site: Sphinx reads the project's root, so that links mean the same there as in a checkout."""

import tomllib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
ERRORS = "docs/reference/errors/index"
CONTENTS = {
    "docs/index": {
        "Begin": ("README", "docs/quickstart", "docs/glossary"),
        "Guides": (
            "docs/guides/data-scientist",
            "docs/guides/site-operator",
            "docs/guides/administrator",
        ),
        "Topics": (
            "docs/workspaces",
            "docs/workspace-parts",
            "docs/frameworks",
            "docs/data",
            "docs/simulation",
            "docs/dry-run",
            "docs/virtual-time",
            "docs/asynchronous",
            "docs/studies",
            "docs/coming-from",
            "docs/evaluation",
            "docs/algorithms",
            "docs/callbacks",
            "docs/selection",
            "docs/work",
            "docs/controllers",
            "docs/aggregation",
            "docs/learning",
            "docs/robustness",
            "docs/compression",
            "docs/testing",
            "docs/environments",
            "docs/devices",
            "docs/sandbox",
            "docs/doctor",
            "docs/enrolment",
            "certs/README",
            "docs/operations",
            "docs/upgrade",
            "docs/checkpoints",
            "docs/deploy/README",
        ),
        "Templates": ("workspace_templates/*/README",),
        "Reference": (
            "docs/reference/plan",
            "docs/reference/settings",
            "docs/reference/cli",
            "docs/reference/plugins",
            "docs/reference/python",
            ERRORS,
            "docs/reference/events",
            "docs/reference/calls",
            "docs/reference/failpoints",
        ),
        "The platform": ("docs/architecture", "docs/faults", "docs/benchmarks/README", "CONTRIBUTING", "CHANGELOG"),
        "Checklists": ("docs/checklists/*",),
        "Decisions": ("docs/design/*",),
    },
    ERRORS: {"Codes": ("docs/reference/errors/E*",)},
}
"""Page -> caption -> pages below it, in order; a page that is missing here is a warning, and fails `make docs`."""

project = "openfl_like"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
extensions = ["myst_parser", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = ["*.md", "certs/README.md", "docs/**.md", "docs/**.rst", "workspace_templates/*/README.md"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"openfl_like {release}"
html_show_sphinx = False
html_copy_source = False
templates_path = ["."]
html_additional_pages = {"index": "redirect.html"}


def _add_contents(_: Sphinx, page: str, source: list[str]) -> None:
    """Gives the first page, and that of the errors, their contents; in a checkout they do without."""
    for caption, names in CONTENTS.get(page, {}).items():
        lines = [
            "```{toctree}",
            ":hidden:",
            ":glob:",
            f":caption: {caption}",
            "",
            *(f"/{name}" for name in names),
            "```",
        ]
        source[0] += "\n\n" + "\n".join(lines) + "\n"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _add_contents)
