"""Transcripts: what a state machine is told and answers, line by line, compared with the files in tests/golden."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "golden" / "transcripts"
WRITES = bool(os.environ.get("OPENFL_LIKE_GOLDEN"))


@dataclass(frozen=True, slots=True)
class Transcripts:
    """The transcripts of one state machine; with OPENFL_LIKE_GOLDEN set they are written instead of compared."""

    folder: Path

    def compare(self, name: str, lines: list[str]) -> None:
        path, text = self.folder / f"{name}.txt", "\n".join(lines) + "\n"
        if WRITES:
            path.write_text(text)
        assert text == path.read_text()

    def are_of(self, names: Collection[str]) -> None:
        kept = {path.stem for path in self.folder.glob("*.txt")}
        if WRITES:
            for name in kept - set(names):
                (self.folder / f"{name}.txt").unlink()
        else:
            assert kept == set(names)
