"""A keyword that a class does not take is told with the one that was probably meant."""

from collections.abc import Callable

import pytest

from openfl_like.plan.mistakes import check_keywords, did_you_mean


class Runner:
    def __init__(self, loader: object, context: object, *, lr: float = 0.1, width: int = 8) -> None:
        self.made = (loader, context, lr, width)


class Free:
    def __init__(self, loader: object, **settings: object) -> None:
        self.made = (loader, settings)


class Bare:
    pass


@pytest.mark.parametrize(
    ("factory", "given", "told"),
    [
        (Runner, "lrr", "there is no setting 'lrr'; did you mean 'lr'?"),
        (Runner, "momentum", "there is no setting 'momentum'; known: lr, width"),
        (Runner, "contxt", "there is no setting 'contxt'; known: lr, width"),
        (Bare, "lr", "there is no setting 'lr'; it takes none"),
    ],
)
def test_what_is_not_taken_is_told(factory: Callable[..., object], given: str, told: str) -> None:
    with pytest.raises(TypeError) as caught:
        check_keywords(factory, ["lr", given] if factory is Runner else [given], "setting", positional=2)
    assert str(caught.value) == told


@pytest.mark.parametrize("factory", [Free, dict, lambda *_, **__: None])
def test_what_takes_anything_or_says_nothing_is_not_judged(factory: Callable[..., object]) -> None:
    check_keywords(factory, ["anything"], "setting")


def test_what_is_known_is_listed_once_and_in_whole_words() -> None:
    assert did_you_mean("zzz", ["beta", "alpha", "beta"]) == "known: alpha, beta"
    many = [f"key{number:02}" for number in range(32)]
    told = did_you_mean("zzz", [*many, *many])
    assert told.startswith("known: key00, key01, ")
    assert told.endswith(", key29 and 2 more")
    assert did_you_mean("key3", many).startswith("did you mean 'key")
