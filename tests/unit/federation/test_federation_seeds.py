"""Seeds that have their first parts in common are those that each would have alone."""

from openfl_like.federation.seeds import Seeds, assignment_seed, derive_seed


def test_seeds_with_parts_in_common_are_those_of_all_parts() -> None:
    seeds = Seeds(7, 3)
    for parts in (("bern", "train"), ("bern", "evaluate"), ("zurich", "train"), (1, "1"), ("1", 1), ()):
        assert seeds.derive(*parts) == derive_seed(7, 3, *parts)
    assert Seeds(7).derive(3) == derive_seed(7, 3)


def test_the_seed_of_an_assignment_is_its_own_whatever_was_asked_before() -> None:
    asked = [(seed, number, name, phase) for seed in (1, 2) for number in range(40) for name, phase in (("a", "b"),)]
    for each in [*asked, *asked[::-1]]:
        assert assignment_seed(*each) == derive_seed(*each)
    assert assignment_seed(True, 1, "a", "b") == derive_seed(True, 1, "a", "b") != assignment_seed(1, 1, "a", "b")  # noqa: FBT003 - a seed that is a bool is not the number
