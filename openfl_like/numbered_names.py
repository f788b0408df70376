"""Names of many collaborators that need not be written down."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, overload


@dataclass(frozen=True, slots=True)
class NumberedNames(Sequence[str]):
    """Names that differ in their number alone, such as ``site-0001`` to ``site-1000``.

    Each is made when it is asked for. They are sorted, because all numbers have as many digits.

    Attributes:
        prefix: What comes before the number.
        digits: How many digits it has.
        total: How many names there are.
        first: The first number.
    """

    prefix: str
    digits: int
    total: int
    first: int = 1

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...

    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        """Return a name by its place, from 0, or some of them."""
        found = range(self.first, self.first + self.total)[place]
        if isinstance(found, range):
            return tuple(self._name(number) for number in found)
        return self._name(found)

    def __len__(self) -> int:
        """How many there are."""
        return self.total

    def __iter__(self) -> Iterator[str]:
        """Make one after the other."""
        return (self._name(number) for number in range(self.first, self.first + self.total))

    def __contains__(self, name: object) -> bool:
        """Whether this is one of them."""
        return isinstance(name, str) and self.place(name) is not None

    def place(self, name: str) -> int | None:
        """Return the place of a name, from 0; None if it is none of them."""
        number = name.removeprefix(self.prefix)
        if len(name) != len(self.prefix) + self.digits or len(number) != self.digits:
            return None
        if not (number.isascii() and number.isdigit()):
            return None
        place = int(number) - self.first
        return place if 0 <= place < self.total else None

    def _name(self, number: int) -> str:
        return f"{self.prefix}{number:0{self.digits}d}"


SortedNames: TypeAlias = tuple[str, ...] | NumberedNames


def sorted_names(names: Collection[str]) -> SortedNames:
    """Return names in order, without repetitions; as `NumberedNames` if they are that."""
    if isinstance(names, NumberedNames):
        return names
    ordered = tuple(sorted(set(names)))
    return _numbered(ordered) or ordered


def _numbered(names: tuple[str, ...]) -> NumberedNames | None:
    if len(names) < 2:
        return None
    first = names[0]
    prefix = first.rstrip("0123456789")
    number = first[len(prefix) :]
    if not number:
        return None
    found = NumberedNames(prefix, len(number), len(names), int(number))
    return found if names[-1] == found[-1] and all(map(str.__eq__, names, found)) else None
