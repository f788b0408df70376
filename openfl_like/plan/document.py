"""Reading the YAML files that people write, so that every mistake is reported at once with its line.

Only plain data is accepted: mappings, lists, text, numbers, true/false and null, as in JSON. Tags, anchors and aliases
are mistakes, so that no code is called and nothing can be made large by reference. Scalars follow the core schema of
YAML 1.2: ``no`` and ``on`` are text, ``1e-3`` is a number. Where any value may stand, such as in settings of submitted
code, a bare scalar that is text here and something else in YAML 1.1 is a mistake: the text ``no`` is true in Python.
"""

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from openfl_like.plan.mistakes import DocumentError, DocumentPlace, KeyPath, Mistake, explain, is_free, refuse

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 50_000

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE = re.compile(r"[-+]?[0-9]{1,40}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,32}")
_OCTAL = re.compile(r"0o[0-7]{1,40}")
_ODD_SPACE = re.compile(r"[\u00a0\u2000-\u200b\u202f\u205f\u3000]")
_REAL = re.compile(r"[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")

_SWITCHES = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_UNDERSCORED = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Tree:
    """A file as plain data.

    Attributes:
        source: Name of the file, for messages.
        data: Mappings, lists and scalars.
        places: Path of keys -> line.
        mistakes: What is wrong already without knowing what the file is for.
    """

    source: str
    data: object = None
    places: Mapping[KeyPath, DocumentPlace] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()


class _Bare(str):
    """Text that stands without quotes in the file."""

    __slots__ = ()


def parse_document(text: str, source: str, model: type[M], error: DocumentError) -> M:
    """Read a document and validate it.

    Args:
        text: YAML.
        source: Name of the file, for messages.
        model: What it must be.
        error: What to raise.

    Raises:
        PlanError: Or `SettingsError`, as ``error`` says, listing every mistake as ``file:line: path: problem; cure``.
    """
    return validated(parse_tree(text, source), model, error)


def load_document(path: Path, model: type[M], error: DocumentError) -> M:
    """Read a file like `parse_document`; one message if it is missing or unreadable."""
    return parse_document(read_text(path, error), str(path), model, error)


def validated(tree: Tree, model: type[M], error: DocumentError) -> M:
    """Validate a tree, or raise ``error`` with all its mistakes."""
    value, mistakes = validate(tree, model)
    if value is None or mistakes:
        raise refuse(tree.source, mistakes, tree.places, error)
    return value


def validate(tree: Tree, model: type[M]) -> tuple[M | None, list[Mistake]]:
    """Validate a tree; the value is None if the schema found mistakes."""
    if tree.data is None:
        # A file that could not be read at all has its mistakes already.
        return None, list(tree.mistakes) or [Mistake((), "the file is empty", place=DocumentPlace(tree.source))]
    mistakes = [*tree.mistakes, *_misread(tree.data, (), model)]
    try:
        return model.model_validate(tree.data), mistakes
    except ValidationError as failure:
        return None, [*mistakes, *explain(failure, model)]


def _misread(value: object, path: KeyPath, model: object) -> Iterator[Mistake]:
    """Name bare scalars that are text here, where nothing but their reader could find that another type is meant."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _misread(item, (*path, key), model)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _misread(item, (*path, index), model)
    elif isinstance(value, _Bare) and is_free(model, path):
        meant = _meant(value)
        if meant:
            yield Mistake(path, f"{value} is text here", f"write {meant}, or '{value}' in quotes if the text is meant")


def _meant(text: str) -> str:
    """Return what YAML 1.1 takes a text for; empty if that is text, too."""
    if text in {text.lower(), text.upper(), text.capitalize()} and text.lower() in _SWITCHES:
        return _SWITCHES[text.lower()]
    if _NOT_FINITE.fullmatch(text):
        return "a finite number"
    return text.replace("_", "") if "_" in text and _UNDERSCORED.fullmatch(text) else ""


def read_text(path: Path, error: DocumentError) -> str:
    """Read a text file of at most 1 MiB.

    Raises:
        PlanError: Or `SettingsError`, as ``error`` says, if it is missing, unreadable, too large or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise error(f"the file is larger than {MAX_BYTES} bytes", place=str(path))
        return data.decode()
    except FileNotFoundError as failure:
        raise error("there is no such file", place=str(path), cure="check the path") from failure
    except OSError as failure:
        raise error(f"the file cannot be read: {failure.strerror}", place=str(path)) from failure
    except UnicodeDecodeError as failure:
        cure = "it is UTF-16, as PowerShell's > writes it; " if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else ""
        raise error("the file is not UTF-8 text", place=str(path), cure=f"{cure}save it as UTF-8") from failure


def parse_tree(text: str, source: str) -> Tree:
    """Read YAML as plain data with the line of everything in it; mistakes are kept, not raised."""
    if len(text) > MAX_BYTES:
        return Tree(
            source, mistakes=(Mistake((), f"the text is longer than {MAX_BYTES} bytes", place=DocumentPlace(source)),)
        )
    builder = _Builder(source)
    try:
        data = builder.document(text)
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        place = DocumentPlace(source, mark.line + 1 if mark else 0)
        return Tree(source, mistakes=(_no_yaml(str(failure.problem), text, place),))
    except (yaml.YAMLError, UnicodeError) as failure:
        problem = " ".join(str(failure).split())
        return Tree(source, mistakes=(Mistake((), f"this is not YAML: {problem}", place=DocumentPlace(source)),))
    except _TooMuchError as failure:
        return Tree(source, mistakes=(Mistake((), str(failure), place=failure.place),))
    return Tree(source, data, builder.places, tuple(builder.mistakes))


def _no_yaml(problem: str, text: str, place: DocumentPlace) -> Mistake:
    """Name a space that only looks like one where the parser gave up, or in the line before."""
    first = max(place.line - 2, 0)
    for number, line in enumerate(text.split("\n")[first : place.line], first + 1):
        odd = _ODD_SPACE.search(line.partition("#")[0])
        if odd:
            what = f"this is not YAML: the line has a {unicodedata.name(odd[0]).lower()} (U+{ord(odd[0]):04X})"
            return Mistake((), what, "write ordinary spaces in its place", DocumentPlace(place.source, number))
    return Mistake((), f"this is not YAML: {problem}", place=place)


class _TooMuchError(Exception):
    def __init__(self, problem: str, place: DocumentPlace) -> None:
        super().__init__(problem)
        self.place = place


class _Builder:
    """Turns the events of the YAML parser into data; nothing is built that is not in this file."""

    def __init__(self, source: str) -> None:
        self.places: dict[KeyPath, DocumentPlace] = {}
        self.mistakes: list[Mistake] = []
        self._source = source
        self._nodes = 0
        self._events: Iterator[yaml.Event] = iter(())

    def document(self, text: str) -> object:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is there unless PyYAML was built without
        self._events = iter(yaml.parse(text, Loader=loader))
        data: object = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                first = self._node(next(self._events), ())
                data = first if documents == 1 else data
                if documents == 2:
                    place = self._place(event)
                    self.mistakes.append(Mistake((), "there is a second document in the file", place=place))
        return data

    def _place(self, event: yaml.Event) -> DocumentPlace:
        return DocumentPlace(self._source, event.start_mark.line + 1 if event.start_mark else 0)

    def _node(self, event: yaml.Event, path: KeyPath) -> object:
        place = self._place(event)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _TooMuchError(f"there are more than {MAX_NODES} entries", place)
        if len(path) > MAX_DEPTH:
            raise _TooMuchError(f"the nesting is deeper than {MAX_DEPTH}", place)
        self.places.setdefault(path, place)
        if isinstance(event, yaml.AliasEvent):
            self.mistakes.append(
                Mistake(path, f"the alias *{event.anchor} is not allowed", "write the value out", place)
            )
            return None
        self._check_plain(event, path)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        return self._scalar(event, path)

    def _check_plain(self, event: yaml.Event, path: KeyPath) -> None:
        tag, anchor = getattr(event, "tag", None), getattr(event, "anchor", None)
        place = self._place(event)
        if tag is not None:
            self.mistakes.append(Mistake(path, f"the tag {tag} is not allowed", "write plain data", place))
        if anchor is not None:
            self.mistakes.append(Mistake(path, f"the anchor &{anchor} is not allowed", "remove it", place))

    def _mapping(self, path: KeyPath) -> dict[str, object]:
        found: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            place = self._place(event)
            if not isinstance(event, yaml.ScalarEvent):
                self.mistakes.append(Mistake(path, "a key must be text", place=place))
                self._node(event, (*path, "?"))
                self._node(next(self._events), (*path, "?"))
                continue
            self._check_plain(event, path)
            key = str(event.value)
            inner = (*path, key)
            if key in found:
                first = self.places[inner]
                self.mistakes.append(
                    Mistake(inner, f"the key stands here again; it is already in line {first.line}", place=place)
                )
            self.places.setdefault(inner, place)
            written = next(self._events)
            value = self._node(written, inner)
            if not isinstance(written, yaml.AliasEvent):  # reported; as a null it would be reported twice
                found.setdefault(key, value)
        return found

    def _list(self, path: KeyPath) -> list[object]:
        found: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._node(event, (*path, len(found))))
        return found

    def _scalar(self, event: yaml.Event, path: KeyPath) -> object:
        text = str(getattr(event, "value", ""))
        if not getattr(event, "implicit", (False,))[0]:
            return text
        value = plain_scalar(text)
        if isinstance(value, str):
            return _Bare(value)
        if isinstance(value, float) and not math.isfinite(value):
            self.mistakes.append(Mistake(path, f"the number {text} is too large", place=self._place(event)))
        return value


def plain_scalar(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar by the core schema of YAML 1.2; ``.inf`` and ``.nan`` are not numbers here."""
    if text in _NULL:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _OCTAL.fullmatch(text):
        return int(text, 8)
    return float(text) if _REAL.fullmatch(text) else text
