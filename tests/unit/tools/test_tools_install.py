from pathlib import Path

import pytest

from tools.install import CONSTRAINTS, announcement, constraints, pinned, source, unfit

TEXT = "termcolor==3.3.0\ntorch==2.13.0\ntorchless==1\n"


def test_another_torch_changes_no_other_constraint() -> None:
    assert constraints(TEXT, "2.9.1+cpu") == "termcolor==3.3.0\ntorch==2.9.1+cpu\ntorchless==1\n"


def test_the_constraints_of_the_project_pin_torch() -> None:
    assert pinned((Path(__file__).parents[3] / CONSTRAINTS).read_text()) == "torch==2.13.0"


def test_a_folder_of_wheels_is_the_only_place_that_is_looked_into(tmp_path: Path) -> None:
    assert source(str(tmp_path)) == ["--no-index", "--find-links", str(tmp_path)]
    assert source("https://index.example/cpu") == ["--index-url", "https://index.example/cpu"]


@pytest.mark.parametrize(
    ("index", "stays", "words"),
    [
        ("", False, ["torch==2.13.0", "CUDA", "3 GB", "TORCH_INDEX=URL", "TORCH=keep"]),
        ("https://index.example/cpu", False, ["torch==2.13.0", "from https://index.example/cpu"]),
        ("", True, ["stays as it is"]),
    ],
)
def test_it_says_what_will_be_fetched(index: str, stays: bool, words: list[str]) -> None:  # noqa: FBT001 - a parameter
    lines = announcement("torch==2.13.0", index, stays=stays, extras=["torch", "sklearn"])
    assert [word for word in words if word not in " ".join(lines)] == []
    assert len(lines) <= 2
    more = announcement("torch==2.13.0", index, stays=stays, extras=["torch", "tensorflow"])
    assert more[:-1] == lines
    assert "TensorFlow's CPU build" in more[-1]


def test_an_old_interpreter_is_told_beforehand() -> None:
    assert "Python 3.10 is too old" in unfit((3, 10))
    assert unfit((3, 11)) == unfit((3, 13)) == ""
