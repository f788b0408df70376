"""The documents of the project, cut into what the tests of this folder look at."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click

from openfl_like.cli.main import fx

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
GOLDEN = ROOT / "tests" / "golden"
CONTEXT = click.Context(fx, info_name="fx", **fx.context_settings)
OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "certs/README.md")

_BLOCK = re.compile(
    r"(?:^<!-- check: (?P<tag>.*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_REDIRECTION = re.compile(r"\s(?:2?>|<)\s*\S+")
_FX = re.compile(r"(?:^|[;&|(]\s*|\bdo\s+|xargs .*?)\bfx\s+(?P<words>[^;&|)\n#]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code in a document.

    Attributes:
        path: The document.
        line: Where it begins.
        language: As written after the fence.
        tag: As written in the comment above it; empty without one.
        text: What is in it.
    """

    path: Path
    line: int
    language: str
    tag: str
    text: str

    @property
    def commands(self) -> Iterator[list[str]]:
        """The words of every ``fx`` command in it, without ``fx``."""
        for found in _FX.finditer(self.text.replace("\\\n", " ")):
            yield shlex.split(_REDIRECTION.sub("", found["words"]))

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def documents() -> list[Path]:
    """Every document."""
    templates = (ROOT / "workspace_templates").glob("*/README.md")
    return [*(ROOT / name for name in OUTSIDE), *sorted(templates), *sorted(DOCS.rglob("*.md"))]


def blocks_of(path: Path) -> list[Block]:
    """The blocks of a document, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(path, text.count("\n", 0, found.start()) + 1, found["language"], found["tag"] or "", found["text"])
        for found in _BLOCK.finditer(text)
    ]


def blocks(*languages: str) -> list[Block]:
    """The blocks of these languages in all documents."""
    return [block for path in documents() for block in blocks_of(path) if block.language in languages]


def rows_of(path: Path, heading: str = "") -> dict[str, list[str]]:
    """The rows of the tables below a heading (or of the whole document) by their first cell, code marks removed."""
    text = path.read_text(encoding="utf-8")
    if heading:
        text = re.split(r"^## ", text.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip("`"): row[1:] for row in cells}


def spans() -> list[tuple[Path, str]]:
    """Every ``fx`` command in the running text of a document, with the document."""
    found = []
    for path in documents():
        prose = _BLOCK.sub("", path.read_text(encoding="utf-8"))
        found += [(path, " ".join(text.split())) for text in re.findall(r"`(fx\s[^`]+)`", prose)]
    return found


def generator() -> ModuleType:
    """The module that writes the generated pages."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """Gives the command that the words name, and the words after its name."""
    command: click.Command = fx
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        found = command.get_command(CONTEXT, name)
        assert found is not None, f"there is no command {name}"
        command = found
    return command, rest
