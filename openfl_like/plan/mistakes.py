"""Mistakes in files that people write: where, what, and what was probably meant."""

import dataclasses
import difflib
import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, JsonValue, ValidationError

from openfl_like.errors import PlanError, SettingsError
from openfl_like.plan.names import NAME_PATTERN
from openfl_like.plan.section import OF_VALUES, OF_WORDS

KeyPath = tuple[str | int, ...]
DocumentError = type[PlanError] | type[SettingsError]

MOST_MISTAKES = 100
"""So many are looked for: a plan may come from somebody who means harm, and each one takes time to put into words."""
_MOST_COMPARED = 1000
"""Among so many known words is looked for one that is like a wrong one."""
_LONGEST_LINE = 2000
_SHOWN_KEYS = 30
_SHOWN_CHARS = 60
# Keys that earlier plans had.
_MOVED: Mapping[KeyPath, str] = {
    ("deadline", "min_fraction"): "it is participation.min_fraction, with participation.policy: quorum",
    ("deadline", "min_updates"): "it is participation.min_updates, with participation.policy: quorum",
    ("deadline", "on_timeout"): "participation.policy says it: exact ends the experiment, quorum goes on",
}
_UNKNOWN_KEY = {"extra_forbidden", "unexpected_keyword_argument"}
_MISSING = {"missing", "missing_argument", "missing_keyword_only_argument"}
_MAPPING = {"model_type", "model_attributes_type", "dict_type", "mapping_type", "dataclass_type"}
_LIST = {"list_type", "tuple_type", "set_type", "frozen_set_type"}
_WHOLE = {"int_type", "int_parsing", "int_from_float", "int_parsing_size"}
_NUMBER = {"float_type", "float_parsing", "finite_number", "decimal_type", "decimal_parsing"}
_TRUTH = {"bool_type", "bool_parsing"}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class DocumentPlace:
    """A line of a file; line 0 where there are no lines, as in an override on the command line."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclasses.dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Attributes:
        path: Keys that lead to it.
        problem: What is wrong, in a few words.
        cure: What to do about it, if that is known.
        place: The line, where it is not simply the line of ``path``.
    """

    path: KeyPath
    problem: str
    cure: str = ""
    place: DocumentPlace | None = None


def dotted(path: KeyPath) -> str:
    """Write a path as ``validator[0].settings.metric``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


def place_of(path: KeyPath, places: Mapping[KeyPath, DocumentPlace]) -> DocumentPlace:
    """The line of a path, or of the nearest thing around it that is written in a file."""
    for length in range(len(path), -1, -1):
        if path[:length] in places:
            return places[path[:length]]
    return DocumentPlace("")


def refuse(
    source: str, mistakes: Iterable[Mistake], places: Mapping[KeyPath, DocumentPlace], error: DocumentError
) -> PlanError | SettingsError:
    """Make the one error that lists all mistakes, in the order of their lines."""
    located = [(mistake.place or place_of(mistake.path, places), mistake) for mistake in mistakes]
    located.sort(key=lambda pair: (pair[0].source != source, pair[0].source, pair[0].line))
    lines = tuple(dict.fromkeys(_line(place, mistake) for place, mistake in located))
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    more = " and perhaps more" if len(located) >= MOST_MISTAKES else ""
    return error(f"{count}{more}", place=source, problems=lines)


def _line(place: DocumentPlace, mistake: Mistake) -> str:
    parts = [str(place), dotted(mistake.path), mistake.problem]
    text = ": ".join(_short(part) for part in parts if part)
    return f"{text}; {_short(mistake.cure)}" if mistake.cure else text


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"


def nearest(word: object, known: Sequence[str]) -> str:
    """A suggestion from the known words; empty if none is like it."""
    text = str(word)
    words = sorted(set(known))[:_MOST_COMPARED]
    near = difflib.get_close_matches(text, words, n=1) if len(text) <= _LONGEST_LINE else []
    return f"did you mean '{near[0]}'?" if near else ""


def did_you_mean(word: object, known: Sequence[str]) -> str:
    """A suggestion from the known words, or a list of them."""
    near = nearest(word, known)
    if near:
        return near
    words = sorted(set(known))
    shown = ", ".join(words[:_SHOWN_KEYS])
    more = f" and {len(words) - _SHOWN_KEYS} more" if len(words) > _SHOWN_KEYS else ""
    return f"known: {shown}{more}" if words else ""


def check_keywords(factory: Callable[..., object], given: Iterable[str], what: str, positional: int = 0) -> None:
    """Refuse a keyword argument that a class or function does not take, with the one that was probably meant.

    Args:
        factory: The class or function.
        given: Names of the arguments.
        what: What people call such an argument.
        positional: How many of its parameters get something else.

    Raises:
        TypeError: As the call itself would.
    """
    known = _keywords_of_class(factory, positional) if isinstance(factory, type) else _keywords(factory, positional)
    if known is None:
        return
    for name in given:
        if name not in known:
            raise TypeError(f"there is no {what} '{name}'; {did_you_mean(name, known) or 'it takes none'}")


def _keywords(factory: Callable[..., object], positional: int) -> tuple[str, ...] | None:
    """Return the keyword arguments that something takes; None if it takes any, or says nothing of itself."""
    try:
        parameters = list(inspect.signature(factory).parameters.values())[positional:]
    except (TypeError, ValueError):  # something written in C
        return None
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return tuple(one.name for one in parameters if one.kind not in {one.POSITIONAL_ONLY, one.VAR_POSITIONAL})


_keywords_of_class = lru_cache(64)(_keywords)  # the class of a shard or loader is asked once for each of many sites


def check_required(factory: Callable[..., object], given: Collection[str], what: str) -> None:
    """Refuse to leave out a keyword argument without which a class or function cannot be called.

    Args:
        factory: The class or function.
        given: Names of the arguments.
        what: What people call such an argument.

    Raises:
        TypeError: As the call itself would.
    """
    required = _required_of_class(factory) if isinstance(factory, type) else _required(factory)
    missing = [f"'{name}'" for name in required if name not in given]
    if missing:
        raise TypeError(f"the {what}{'s' if len(missing) > 1 else ''} {' and '.join(missing)} must be given")


def _required(factory: Callable[..., object]) -> tuple[str, ...]:
    """Return the keyword arguments that something cannot do without; none if it says nothing of itself."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # something written in C
        return ()
    named = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    return tuple(one.name for one in parameters if one.kind in named and one.default is one.empty)


_required_of_class = lru_cache(64)(_required)


_NO_KEYS = {"[key]", OF_WORDS, OF_VALUES}
"""What pydantic writes into a path besides keys."""


def explain(failure: ValidationError, model: object, prefix: KeyPath = ()) -> list[Mistake]:
    """Translate what pydantic found.

    Args:
        failure: Pydantic's error.
        model: The type that was validated, for suggestions.
        prefix: Where that type's value stands in the file.
    """
    found = failure.errors(include_url=False)[:MOST_MISTAKES]
    return [_explain(dict(error), model, prefix) for error in found]


def _explain(error: dict[str, Any], model: object, prefix: KeyPath) -> Mistake:
    location: KeyPath = tuple(key for key in error["loc"] if key not in _NO_KEYS)
    path = prefix + location
    kind: str = error["type"]
    if kind in _UNKNOWN_KEY:
        if path in _MOVED:
            return Mistake(path, "there is no such key any more", _MOVED[path])
        return Mistake(path, "unknown key", did_you_mean(location[-1], fields_at(model, location[:-1]) or ()))
    if kind in _MISSING:
        return Mistake(path, "this key is required")
    if kind == "literal_error":
        choices = [choice.strip("'") for choice in str(error["ctx"]["expected"]).replace(" or ", ", ").split(", ")]
        return Mistake(path, f"must be one of {', '.join(choices)}, not {_shown(error['input'])}")
    return Mistake(path, *_wrong_value(kind, error))


def _wrong_value(kind: str, error: dict[str, Any]) -> tuple[str, str]:
    value = error["input"]
    if value is None:
        return "is empty", "give it a value, or leave the key out"
    for kinds, wanted in _WANTED:
        if kind in kinds:
            return f"must be {wanted}, not {_shown(value)}", ""
    if kind == "string_type":
        cure = "put it into quotes" if isinstance(value, int | float) else ""
        return f"must be text, not {_shown(value)}", cure
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"must be {words} {_bound(error['ctx'][bound])}, not {_shown(value)}", ""
    rule = _RULES.get(kind)
    if rule:
        return rule(error)
    message: str = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message[:1].lower() + message[1:], ""


_WANTED = (
    (_MAPPING, "a mapping of keys to values"),
    (_LIST, "a list"),
    (_WHOLE, "a whole number"),
    (_NUMBER, "a finite number"),
    (_TRUTH, "true or false"),
)


def _pattern(error: dict[str, Any]) -> tuple[str, str]:
    cure = "use 1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter or digit"
    known = error["ctx"]["pattern"] == rf"^{NAME_PATTERN}$"
    return (
        f"{_shown(error['input'])} is not a valid name",
        cure if known else f"it must match {error['ctx']['pattern']}",
    )


def _too_short(error: dict[str, Any]) -> tuple[str, str]:
    least = error["ctx"]["min_length"]
    noun = "entry" if least == 1 else "entries"
    return f"must have at least {least} {noun}, not {error['ctx']['actual_length']}", ""


def _too_long(error: dict[str, Any]) -> tuple[str, str]:
    return f"must have at most {error['ctx']['max_length']} entries, not {len(error['input'])}", ""


_RULES: dict[str, Callable[[dict[str, Any]], tuple[str, str]]] = {
    "string_pattern_mismatch": _pattern,
    "too_short": _too_short,
    "too_long": _too_long,
}


def _bound(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def fields_at(model: object, path: KeyPath) -> tuple[str, ...] | None:
    """The keys that a model allows at a path; None where any key may stand (a free mapping) or none (a value)."""
    for key in path:
        model = _inside(model, key)
    return tuple(fields) if (fields := _fields(model)) is not None else None


def is_free(model: object, path: KeyPath) -> bool:
    """Whether any value may stand at a path of a model, so that nothing but its reader knows what is meant."""
    for key in path:
        model = _inside(model, key)
        if model is JsonValue:
            return True
    return False


def _fields(kind: object) -> dict[str, object] | None:
    """Field name -> type of a model, a dataclass or the one such thing in a union."""
    if get_origin(kind) in {Union, types.UnionType, Annotated}:
        found = (_fields(part) for part in get_args(kind))
        return next((fields for fields in found if fields is not None), None)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
    return None


def _inside(kind: object, key: str | int) -> object:
    fields = _fields(kind)
    if fields is not None:
        return fields.get(str(key))
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _inside(arguments[0], key)
    if origin is dict:
        return arguments[1]
    return arguments[0] if origin in {list, tuple} else None
