"""``~`` and ``$HOME`` are the home directory, and no folder is ever called like a variable."""

from pathlib import Path

import pytest

from openfl_like.plan.paths import written_path


@pytest.mark.parametrize("start", ["~", "$HOME", "${HOME}"])
def test_the_home_directory_is_meant(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert written_path(start) == Path("/home/ada")
    assert written_path(f"{start}/data//x.csv") == Path("/home/ada/data/x.csv")
    assert written_path(f"{start}/data", home="/srv/site") == Path("/srv/site/data")


@pytest.mark.parametrize("text", ["data/x.csv", "./~/x", "a~b", "/data/cost$", "x$HOME", "", "/a/~", "100$_a"])
def test_other_paths_stay_as_they_are(text: str) -> None:
    assert written_path(text) == Path(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("$DATA/x.csv", r"\$DATA is not replaced here, only \$HOME is; write the path out"),
        ("${DATA}/x.csv", r"\$\{DATA\} is not replaced"),
        ("/data/$SITE/x", r"\$SITE is not replaced"),
        ("$HOMES/x", r"\$HOMES is not replaced"),
        ("~/$DATA/x", r"\$DATA is not replaced"),
        ("./$HOME", r"\$HOME is replaced at the beginning of a path only"),
        ("/data/${HOME}/x", r"\$\{HOME\} is replaced at the beginning of a path only"),
        ("~nobody-of-that-name/x", "there is no user 'nobody-of-that-name' whose home ~nobody-of-that-name would be"),
    ],
)
def test_what_only_a_shell_knows_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        written_path(text)


def test_the_home_of_another_user_is_looked_up() -> None:
    assert written_path("~root/x").is_absolute()
