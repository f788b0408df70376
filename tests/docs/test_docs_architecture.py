import importlib
import re

import pytest

from tests.docs.documents import DOCS
from tests.frameworks import marks_of

NAME = re.compile(r"`(openfl_like[\w.]*):([\w.]+)`")
NAMED = sorted({(found[1], found[2]) for path in DOCS.rglob("*.md") for found in NAME.finditer(path.read_text())})
WALK = "One update, from the worker's file to the screen"


@pytest.mark.parametrize(("module", "name"), [pytest.param(*named, marks=marks_of(named[0])) for named in NAMED])
def test_what_the_documents_name_exists(module: str, name: str) -> None:
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert found is not None


def test_the_walk_of_an_update_goes_through_every_layer_that_moves_it() -> None:
    text = (DOCS / "architecture.md").read_text().split(f"## {WALK}\n", 1)[1].split("\n## ", 1)[0]
    packages = {found[1].split(".")[1] for found in NAME.finditer(text)}
    assert {"frameworks", "services", "wire", "runtimes", "federation", "store", "events", "api", "cli"} <= packages


WALKS = (
    WALK,
    "One failure, from the line that raised to the answer",
    "One heartbeat, from a site's machine to the screen",
    "One log line, from a worker to the screen",
)
MOST_HANDS = 9


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_has_few_hands_and_names_every_one(walk: str) -> None:
    text = (DOCS / "architecture.md").read_text().split(f"## {walk}\n", 1)[1].split("\n## ", 1)[0]
    hands = re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:]
    assert 3 < len(hands) <= MOST_HANDS
    assert [hand for hand in hands if not NAME.search(hand)] == []
