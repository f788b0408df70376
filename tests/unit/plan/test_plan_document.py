import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, JsonValue

from openfl_like.errors import PlanError, SettingsError
from openfl_like.plan.document import MAX_BYTES, load_document, parse_document, parse_tree, plain_scalar
from openfl_like.plan.mistakes import fields_at


class Port(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    number: int
    share: float = 0.5
    open: bool = True
    mode: Literal["fast", "slow"] = "fast"
    label: str = ""


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "localhost"
    ports: tuple[Port, ...] = ()
    named: dict[str, Port] = {}
    best: Port | None = None
    free: dict[str, JsonValue] = {}


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        parse_document(text, "director.yaml", Settings, SettingsError)
    return caught.value.problems


def test_a_good_document_becomes_its_model() -> None:
    text = "host: example.org\nports: [{number: 1}, {number: 2, share: 1}]\nfree: {a: [1, x, null]}\n"
    found = parse_document(text, "director.yaml", Settings, SettingsError)
    assert found == Settings(
        host="example.org", ports=(Port(number=1), Port(number=2, share=1.0)), free={"a": [1, "x", None]}
    )


def test_all_mistakes_come_at_once_with_line_path_and_cure() -> None:
    text = """\
hots: example.org
ports:
  - number: x
  - {number: 1, shar: 2}
named:
  first: {}
best:
  number: 1.5
  mode: fats
"""
    assert problems_of(text) == (
        "director.yaml:1: hots: unknown key; did you mean 'host'?",
        "director.yaml:3: ports[0].number: must be a whole number, not 'x'",
        "director.yaml:4: ports[1].shar: unknown key; did you mean 'share'?",
        "director.yaml:6: named.first.number: this key is required",
        "director.yaml:8: best.number: must be a whole number, not 1.5",
        "director.yaml:9: best.mode: must be one of fast, slow, not 'fats'",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("host: 7", "director.yaml:1: host: must be text, not 7; put it into quotes"),
        ("host: [a]", "director.yaml:1: host: must be text, not a list"),
        ("host:", "director.yaml:1: host: is empty; give it a value, or leave the key out"),
        ("ports: {a: 1}", "director.yaml:1: ports: must be a list, not a mapping"),
        ("best: 7", "director.yaml:1: best: must be a mapping of keys to values, not 7"),
        ("best: {number: 1, open: maybe}", "director.yaml:1: best.open: must be true or false, not 'maybe'"),
        ("best: {number: 1, share: many}", "director.yaml:1: best.share: must be a finite number, not 'many'"),
        ("best: {number: 1, share: .inf}", "director.yaml:1: best.share: must be a finite number, not '.inf'"),
        ("best: {number: 1, share: inf}", "director.yaml:1: best.share: must be a finite number, not 'inf'"),
        ("zzz: 1", "director.yaml:1: zzz: unknown key; known: best, free, host, named, ports"),
        ("- a", "director.yaml:1: must be a mapping of keys to values, not a list"),
        ("just text", "director.yaml:1: must be a mapping of keys to values, not 'just text'"),
        ("", "director.yaml: the file is empty"),
        ("# nothing", "director.yaml: the file is empty"),
        ("host: a\nhost: b", "director.yaml:2: host: the key stands here again; it is already in line 1"),
        ("host: &x a", "director.yaml:1: host: the anchor &x is not allowed; remove it"),
        ("free: {a: &x b, c: *x}", "director.yaml:1: free.c: the alias *x is not allowed; write the value out"),
        ("host: !!str a", "director.yaml:1: host: the tag tag:yaml.org,2002:str is not allowed; write plain data"),
        ("host: !!python/object/apply:os.system [id]", "write plain data"),
        ("host: a\n---\nhost: b", "director.yaml:2: there is a second document in the file"),
        ("{[a]: b}", "director.yaml:1: a key must be text"),
        ("host: 'a", "director.yaml:1: this is not YAML: found unexpected end of stream"),
        ("a: b: c", "director.yaml:1: this is not YAML: mapping values are not allowed in this context"),
        ("a:\n\t- b", "this is not YAML"),
        ("host: \x07", "this is not YAML"),
        ("free: {a: 1e999}", "director.yaml:1: free.a: the number 1e999 is too large"),
        ("free: " + "[" * 100, "director.yaml:1: the nesting is deeper than 64"),
        ("free: [" + "a," * 60_000 + "]", "director.yaml:1: there are more than 50000 entries"),
        ("x" * (MAX_BYTES + 1), f"director.yaml: the text is longer than {MAX_BYTES} bytes"),
        ("<<: {host: a}", "director.yaml:1: <<: unknown key; known: best, free, host, named, ports"),
    ],
)
def test_each_mistake_has_its_words(text: str, problem: str) -> None:
    assert any(problem in found for found in problems_of(text)), problems_of(text)


def test_a_line_is_named_once_for_one_alias() -> None:
    assert len(problems_of("best: &a {number: 1}\nhost: *a")) == 2


def test_a_billion_laughs_costs_nothing() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 200)]
    assert any("alias" in problem for problem in problems_of("\n".join(lines)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("007", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("+5", 5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2030-01-01", "2030-01-01"),
        ("1_000", "1_000"),
        (".nan", ".nan"),
        ("9" * 41, "9" * 41),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = plain_scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_quoted_scalars_are_text() -> None:
    assert parse_tree("['7', \"true\", '']", "x").data == ["7", "true", ""]


WORDS = st.text(
    st.characters(categories=("L", "N", "P", "S", "Zs"))
)  # YAML has no way to write control characters here
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_plain_data_survives(value: object) -> None:
    assert parse_tree(json.dumps(value, ensure_ascii=False), "x").data == value


@given(st.text())
def test_any_text_gives_a_tree_or_a_mistake(text: str) -> None:
    tree = parse_tree(text, "x")
    assert all(mistake.place is not None for mistake in tree.mistakes)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_exactly(number: float) -> None:
    found = plain_scalar(repr(number))
    assert isinstance(found, float)
    assert math.copysign(1, found) == math.copysign(1, number)
    assert found == number


def test_errors_are_of_the_kind_asked_for() -> None:
    with pytest.raises(PlanError, match="1 mistake"):
        parse_document("zzz: 1", "plan.yaml", Settings, PlanError)
    with pytest.raises(SettingsError, match=r"director.yaml: 2 mistakes\n  - director.yaml:1: y.*\n  - .*:2: zzz"):
        parse_document("yyy: 1\nzzz: 1", "director.yaml", Settings, SettingsError)


def test_a_file_is_read(written: Callable[..., Path]) -> None:
    assert load_document(written(director="host: a"), Settings, SettingsError).host == "a"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"\xff\xfe\x00", "not UTF-8"), (b"#" * (MAX_BYTES + 1), "larger than")],
)
def test_a_file_that_cannot_be_read_is_one_clear_message(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "director.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=message) as caught:
        load_document(path, Settings, SettingsError)
    assert caught.value.place == str(path)
    assert caught.value.problems == ()


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_document(tmp_path, Settings, SettingsError)


def test_fields_are_found_through_every_kind_of_container() -> None:
    assert fields_at(Settings, ("ports", 0)) == fields_at(Settings, ("named", "x")) == fields_at(Settings, ("best",))
    assert fields_at(Settings, ("best",)) == ("number", "share", "open", "mode", "label")
    assert fields_at(Settings, ("free",)) is None
    assert fields_at(Settings, ("host", "x", 1)) is None


def test_utf_16_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "director.yaml").write_bytes("host: a\n".encode("utf-16"))
    with pytest.raises(SettingsError, match="not UTF-8") as caught:
        load_document(tmp_path / "director.yaml", Settings, SettingsError)
    assert "UTF-16" in caught.value.cure


def test_a_space_that_only_looks_like_one_is_named_with_its_line() -> None:
    text = "named:\n  a: {number: 1}\n\u00a0 b: {number: 2}\n  c: {number: 2}\n"
    with pytest.raises(SettingsError, match=r"a.yaml:3: .*no-break space \(U\+00A0\); write ordinary spaces"):
        parse_document(text, "a.yaml", Settings, SettingsError)


def test_a_space_in_a_comment_is_not_blamed() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_document("host: [  # a\u00a0list\n", "a.yaml", Settings, SettingsError)
    assert "U+00A0" not in str(caught.value)


class Free(BaseModel):
    name: str = ""
    settings: dict[str, JsonValue] = {}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "false"), ("off", "false"), ("yes", "true"), ("on", "true"), ("No", "false"), ("OFF", "false"),
        ("1_000", "1000"), ("-1_0.5", "-10.5"), (".inf", "a finite number"), ("-.INF", "a finite number"),
        (".nan", "a finite number"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["{{shuffle: {}}}", "{{shuffle: [1, {{deep: {}}}]}}"])
def test_a_bare_word_that_is_text_here_and_not_elsewhere_is_no_setting(written: str, meant: str, place: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_document(f"settings: {place.format(written)}\n", "f", Free, PlanError)
    (problem,) = caught.value.problems
    assert problem.startswith("f:1: settings.shuffle")
    assert problem.endswith(f": {written} is text here; write {meant}, or '{written}' in quotes if the text is meant")


@pytest.mark.parametrize(
    "written", ["'no'", '"off"', "'1_000'", "nO", "y", "n", "1:30", "a_1", "_1", "none", "north", "offset"]
)
def test_quoted_words_and_other_text_are_settings(written: str) -> None:
    found = parse_document(f"settings: {{shuffle: {written}}}\n", "f", Free, PlanError)
    assert found.settings == {"shuffle": written.strip("'\"")}
    assert type(found.settings["shuffle"]) is str


def test_where_only_text_may_stand_a_bare_word_is_text() -> None:
    assert parse_document("name: no\n", "f", Free, PlanError).name == "no"
