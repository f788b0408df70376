"""Seeds of independent random streams, derived from the experiment's seed."""

from functools import lru_cache
from hashlib import blake2b
from struct import Struct

SEED_BITS = 63
_TAG_AND_LENGTH = Struct("<cQ")


def derive_seed(experiment_seed: int, *parts: str | int) -> int:
    """Derive the seed of one stream, for example of (round, collaborator, purpose).

    BLAKE2b over the tagged, length-prefixed parts: equal parts give equal seeds on every machine and version, and
    ``("ab", "c")`` is another stream than ``("a", "bc")`` or ``(1,)`` than ``("1",)``.

    Returns:
        A number of 63 bits, which every random generator in use accepts.
    """
    return _number(_begun(experiment_seed, *parts))


class Seeds:
    """Many seeds that have their first parts in common, which are looked at once.

    Args:
        experiment_seed: As in `derive_seed`.
        parts: The first ones of each.
    """

    def __init__(self, experiment_seed: int, *parts: str | int) -> None:
        self._begun = _begun(experiment_seed, *parts)

    def derive(self, *parts: str | int) -> int:
        """Derive what `derive_seed` gives for all parts, the first ones and these."""
        state = self._begun.copy()
        state.update(_encoded(parts))
        return _number(state)


def _begun(*parts: str | int) -> blake2b:
    return blake2b(_encoded(parts), digest_size=8, person=b"openfl_like")


def _encoded(parts: tuple[str | int, ...]) -> bytes:
    pieces: list[bytes] = []
    for part in parts:
        data = str(part).encode()
        pieces += (_TAG_AND_LENGTH.pack(b"i" if isinstance(part, int) else b"s", len(data)), data)
    return b"".join(pieces)


def _number(state: blake2b) -> int:
    return int.from_bytes(state.digest(), "little") >> (64 - SEED_BITS)


def assignment_seed(experiment_seed: int, round_number: int, collaborator: str, phase: str) -> int:
    """Derive the seed of an assignment, which is the same however often it is sent.

    Args:
        experiment_seed: The plan's.
        round_number: The round.
        collaborator: Who is asked; empty in the phase ``initialise``, whose model must not depend on who makes it.
        phase: The phase.
    """
    return _of_round(experiment_seed, round_number).derive(collaborator, phase)


@lru_cache(16, typed=True)
def _of_round(experiment_seed: int, round_number: int) -> Seeds:
    return Seeds(experiment_seed, round_number)


def compression_seed(experiment_seed: int, round_number: int, collaborator: str) -> int:
    """Derive the seed of an update's compression; the site and the Aggregator each do it for themselves."""
    return derive_seed(experiment_seed, round_number, collaborator, "compression")
