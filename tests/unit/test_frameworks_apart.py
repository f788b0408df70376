"""PyTorch, TensorFlow and JAX never share a test process: which test is of which run."""

import pytest

from tests.frameworks import FORBIDDEN, belongs, imports_another, intruders, marks_of


@pytest.mark.parametrize(
    ("marks", "runs"),
    [
        ((), {"torch", "none"}),
        (("slow",), {"torch", "none"}),
        (("torch",), {"torch"}),
        (("sklearn",), {"torch"}),
        (("tensorflow",), {"tensorflow"}),
        (("tensorflow", "sklearn"), {"tensorflow"}),
        (("jax",), {"jax"}),
    ],
)
def test_every_test_has_its_run(marks: tuple[str, ...], runs: set[str]) -> None:
    assert {run for run in FORBIDDEN if belongs(marks, run)} == runs


def test_a_module_named_after_its_framework_is_collected_where_it_may_be_imported() -> None:
    assert [run for run in FORBIDDEN if imports_another("test_frameworks_torch", run)] == ["tensorflow", "jax", "none"]
    assert [run for run in FORBIDDEN if imports_another("test_frameworks_names", run)] == []


def test_what_was_imported_against_the_rule_is_named() -> None:
    assert intruders("torch", ["torch", "sklearn", "tensorflow"]) == {"tensorflow"}
    assert intruders("tensorflow", ["torch", "tensorflow"]) == {"torch"}
    assert intruders("none", ["numpy"]) == set()


def test_the_marks_of_a_parameter_are_those_of_its_framework() -> None:
    assert marks_of("openfl_like.frameworks.formats.torch") == (pytest.mark.torch,)
    assert marks_of("keras-adam") == (pytest.mark.tensorflow,)
    assert marks_of("numpy") == ()
