import contextlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml

from openfl_like.data.shard_file import load_shard_config
from openfl_like.plan.load import load_plan
from openfl_like.services.director.settings import load_director_file
from openfl_like.studies.load import load_study
from tests.docs.documents import CONTEXT, DOCS, ROOT, Block, blocks, command_of, documents, spans

SHELLS = ("bash", "console", "")
LOADERS: dict[str, Callable[[Path], object]] = {
    "plan": load_plan,
    "study": load_study,
    "director": load_director_file,
    "shard": load_shard_config,
}
LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\(([^)\s]+)\)")
VARIABLE = re.compile(r"\$\w+")
OVERWRITES = re.compile(r"(?<![<>=&-])>\s*(?!/dev/)[^\s>&]+")
COMMANDS = [
    pytest.param(words, id=f"{block}: fx {' '.join(words)[:60]}")
    for block in blocks(*SHELLS)
    for words in block.commands
]


def test_there_is_something_to_check() -> None:
    assert len(COMMANDS) + len(spans()) > 60
    assert {block.tag.split()[0] for block in blocks("yaml", *SHELLS) if block.tag} >= {
        "director",
        "shard",
        "run",
    }


def test_no_command_overwrites_a_file_of_whoever_follows_it() -> None:
    found = [
        f"{block}: {line}" for block in blocks("bash") for line in block.text.splitlines() if OVERWRITES.search(line)
    ]
    assert not found


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_can_be_given_like_that(words: list[str]) -> None:
    command, rest = command_of(words)
    replaced = [VARIABLE.sub("x", word) for word in rest]  # as the shell does
    with contextlib.suppress(click.exceptions.Exit):  # --help and --version
        command.make_context(words[0], replaced, parent=CONTEXT)


@pytest.mark.parametrize(("path", "text"), spans())
def test_every_command_in_the_text_exists_with_its_options(path: Path, text: str) -> None:
    words = [word for word in text.split()[1:] if word not in {"…", "--debug"}]
    command, rest = command_of(words)
    known = {
        option for parameter in command.get_params(CONTEXT) for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {word for word in rest if word.startswith("-")} <= known, path


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_every_yaml_block_is_what_it_says(block: Block, tmp_path: Path) -> None:
    assert isinstance(yaml.safe_load(block.text), dict)
    if block.tag:
        file = tmp_path / "file.yaml"
        file.write_text(block.text)
        LOADERS[block.tag.split()[0]](file)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_every_python_block_compiles_and_runs_if_it_can(block: Block, tmp_path: Path) -> None:
    compile(block.text, str(block), "exec")
    run, _, module = block.tag.partition(" with ")
    if run == "run":
        if module:
            pytest.importorskip(module, reason="the block needs a package that the platform does not")
        subprocess.run([sys.executable, "-c", block.text], cwd=tmp_path, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == [], "whoever copies it has files of these names, which it would overwrite"


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in LINK.findall(text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        assert place.exists(), target
        assert not anchor or anchor in _anchors(place), target


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, ahead = set[Path](), [DOCS / "index.md"]
    while ahead:
        page = ahead.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [target.partition("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8"))]
        ahead += [
            found
            for target in targets
            if (found := (page.parent / target).resolve()).suffix == ".md" and found.is_relative_to(DOCS)
        ]
    assert set(DOCS.rglob("*.md")) - reached == set()
