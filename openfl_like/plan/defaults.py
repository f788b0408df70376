"""``defaults:`` files: what a plan shares with others, merged below what it says itself."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from openfl_like.errors import PlanError, SettingsError
from openfl_like.plan.document import Tree, parse_tree, read_text
from openfl_like.plan.mistakes import DocumentError, KeyPath, Mistake
from openfl_like.plan.paths import written_path

KEY = "defaults"
MAX_CHAIN = 8


def load_tree(path: Path, error: DocumentError = PlanError) -> Tree:
    """Read a file and merges its defaults.

    ``defaults: FILE`` may stand at the top and in every section. The file is relative to the one that names it and may
    name others. Mappings are merged key by key; anything else in the naming file replaces what the defaults say.

    Raises:
        PlanError: Or another, as ``error`` says, if the file itself is missing or unreadable; a defaults file that is
            so is one of the tree's mistakes.
    """
    tree = parse_tree(read_text(path, error), str(path))
    return _expanded(tree, path, sections=True, chain=0, error=error)


def merged(base: object, over: object) -> object:
    """Lay ``over`` on ``base``, key by key where both are mappings."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        both = {key: merged(base[key], value) if key in base else value for key, value in over.items()}
        return {**base, **both}
    return over


def _expanded(tree: Tree, path: Path, *, sections: bool, chain: int, error: DocumentError) -> Tree:
    if not isinstance(tree.data, dict):
        return tree
    holders: list[KeyPath] = [()]
    if sections:
        holders += [(key,) for key, value in tree.data.items() if isinstance(value, dict)]
    for holder in holders:
        key = (*holder, KEY)
        if key in tree.places:
            named = _section(tree, holder)[KEY]
            if chain >= MAX_CHAIN:
                below = _unusable(key, tree, f"more than {MAX_CHAIN} files name one another")
            elif not isinstance(named, str):
                below = _unusable(key, tree, "must be the name of one file")
            else:
                below = _named(path, named, key, tree, chain, error)
            tree = _laid_on(below, tree, holder)
    return tree


def _named(path: Path, named: str, key: KeyPath, tree: Tree, chain: int, error: DocumentError) -> Tree:
    try:
        return _below(path.parent / written_path(named), key, tree, chain, error)
    except ValueError as failure:
        return _unusable(key, tree, str(failure))


def _below(file: Path, key: KeyPath, tree: Tree, chain: int, error: DocumentError) -> Tree:
    try:
        text = read_text(file, error)
    except (PlanError, SettingsError) as failure:
        return _unusable(key, tree, f"{failure.place}: {failure.message}")
    below = _expanded(parse_tree(text, str(file)), file, sections=len(key) == 1, chain=chain + 1, error=error)
    if isinstance(below.data, dict) or below.mistakes:
        return below
    return _unusable(key, tree, f"{file}: must be a mapping of keys to values")


def _unusable(key: KeyPath, tree: Tree, problem: str) -> Tree:
    return Tree(tree.source, {}, mistakes=(Mistake((KEY,), problem, place=tree.places[key]),))


def _section(tree: Tree, holder: KeyPath) -> dict[str, object]:
    section = tree.data
    for key in holder:
        section = section[str(key)] if isinstance(section, dict) else {}
    return section if isinstance(section, dict) else {}


def _laid_on(below: Tree, above: Tree, holder: KeyPath) -> Tree:
    """Put a defaults tree under the holder of its name and take the name out."""
    own = {key: value for key, value in _section(above, holder).items() if key != KEY}
    data = merged(_section(below, ()), own)
    whole = {**_section(above, ()), str(holder[0]): data} if holder else data
    moved = {(*holder, *path): place for path, place in below.places.items()}
    inherited = (replace(mistake, path=(*holder, *mistake.path)) for mistake in below.mistakes)
    places = {**moved, **above.places}
    del places[(*holder, KEY)]
    return Tree(above.source, whole, places, (*above.mistakes, *inherited))
