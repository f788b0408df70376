"""``-s section.key=value``: a plan changed from the command line, with the same checks as the file."""

from collections.abc import Sequence
from dataclasses import replace

from openfl_like.plan.document import Tree, parse_tree
from openfl_like.plan.mistakes import DocumentPlace, KeyPath, Mistake, did_you_mean, fields_at


def overridden(tree: Tree, overrides: Sequence[str], model: object) -> Tree:
    """Apply overrides in their order; one that cannot be applied becomes a mistake of the tree.

    Args:
        tree: The file.
        overrides: Texts like ``deadline.train_s=30`` or ``stop.any.0.rounds=5``; the value is read as YAML.
        model: The type of the file, for suggestions.
    """
    for text in overrides:
        tree = _apply(tree, text, model)
    return tree


def _apply(tree: Tree, text: str, model: object) -> Tree:
    place = DocumentPlace(f"override '{text}'")
    dotted, equals, written = text.partition("=")
    names = dotted.strip().split(".")
    if not equals or not all(names):
        mistake = Mistake((), "this is not a valid override", "write section.key=value", place)
        return replace(tree, mistakes=(*tree.mistakes, mistake))
    value = parse_tree(written, place.source)
    path, wrong = _resolve(tree.data, names, model, place)
    mistakes = [replace(mistake, place=place) for mistake in value.mistakes]
    if wrong or mistakes:
        return replace(tree, mistakes=(*tree.mistakes, *wrong, *mistakes))
    places = {known: where for known, where in tree.places.items() if known[: len(path)] != path}
    for length in range(1, len(path)):
        places.setdefault(path[:length], place)
    return replace(tree, data=_set(tree.data, path, value.data), places={**places, path: place})


def _resolve(data: object, names: list[str], model: object, place: DocumentPlace) -> tuple[KeyPath, list[Mistake]]:
    """Find the keys that the names stand for; a number counts the entries of a list."""
    path: KeyPath = ()
    for name in names:
        last = len(path) == len(names) - 1
        if isinstance(data, list):
            if not name.isdecimal() or int(name) >= len(data):
                return path, [Mistake((*path, name), "there is no such entry", f"the list has {len(data)}", place)]
            path, data = (*path, int(name)), data[int(name)]
            continue
        present = tuple(data) if isinstance(data, dict) else ()
        fields = fields_at(model, path)
        allowed = (*present, *(fields or ()))
        if name not in allowed and (fields is not None or not last):
            return path, [Mistake((*path, name), "there is no such key", did_you_mean(name, allowed), place)]
        path = (*path, name)
        data = data.get(name) if isinstance(data, dict) else None
    return path, []


def _set(data: object, path: KeyPath, value: object) -> object:
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(data, list) and isinstance(key, int):
        return [_set(old, rest, value) if index == key else old for index, old in enumerate(data)]
    known = data if isinstance(data, dict) else {}
    return {**known, str(key): _set(known.get(str(key)), rest, value)}
