"""Short names: free to list, resolved when asked for, with a suggestion when there is none."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from openfl_like import registry
from openfl_like.errors import NotFoundError
from tests.frameworks import marks_of

EVERY = [
    pytest.param(kind, name, marks=marks_of(target))
    for kind, table in registry.BUILTIN.items()
    for name, target in table.items()
]


@pytest.mark.parametrize(("kind", "name"), EVERY, ids=str)
def test_every_short_name_resolves(kind: str, name: str) -> None:
    assert callable(registry.resolve(kind, name))


def test_names_are_sorted_and_of_their_kind() -> None:
    for kind, table in registry.BUILTIN.items():
        assert registry.names(kind) == sorted(table)
    assert registry.names("nothing") == []


@pytest.mark.parametrize(
    ("template", "cure"),
    [("randm", "did you mean 'random'?"), ("zzz", "known: all, best_energy, best_expected_time, "), ("", "known: ")],
)
def test_an_unknown_name_gets_a_suggestion(template: str, cure: str) -> None:
    with pytest.raises(NotFoundError, match=f"there is no selector named '{template}'") as caught:
        registry.resolve("selector", template)
    assert caught.value.cure.startswith(cure)


def test_any_attribute_of_a_module_can_be_named() -> None:
    assert registry.resolve("shard", "json:dumps")({}) == "{}"  # type: ignore[operator] # it is a function


def test_a_missing_module_is_named() -> None:
    with pytest.raises(NotFoundError, match="needs the module 'no_such_module', which is not here") as caught:
        registry.resolve("shard", "no_such_module.inner:Shard")
    assert "install the package that has 'no_such_module'" in caught.value.cure


def test_a_missing_attribute_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"the module 'json' has no 'Shard' \(asked for as shard\)"):
        registry.resolve("shard", "json:Shard")


def test_an_installed_package_can_add_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(*, group: str, name: str = "") -> EntryPoints:
        points = EntryPoints([EntryPoint("mine", "json:dumps", "openfl_like.selector")])
        return points.select(group=group, name=name) if name else points.select(group=group)

    monkeypatch.setattr(registry, "entry_points", installed)
    assert registry.names("selector") == sorted([*registry.BUILTIN["selector"], "mine"])
    assert callable(registry.resolve("selector", "mine"))
    assert registry.names("shard") == sorted(registry.BUILTIN["shard"])


def test_a_builtin_name_cannot_be_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda **_: pytest.fail("asked for an installed one"))
    assert callable(registry.resolve("selector", "random"))


def test_installed_packages_are_looked_through_once_where_that_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def installed(*, group: str) -> EntryPoints:
        asked.append(group)
        return EntryPoints()

    monkeypatch.setattr(registry, "entry_points", installed)
    with registry.listed_once():
        first = registry.names("selector")
        first.append("changed")
        assert registry.names("selector") == sorted(registry.BUILTIN["selector"])
        registry.names("shard")
    assert asked == ["openfl_like.selector", "openfl_like.shard"]
    registry.names("selector")
    assert len(asked) == 3
