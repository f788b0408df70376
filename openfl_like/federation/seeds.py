"""Seeds of independent random streams, derived from the experiment's seed."""

from hashlib import blake2b

SEED_BITS = 63


def derive_seed(experiment_seed: int, *parts: str | int) -> int:
    """Derive the seed of one stream, for example of (round, collaborator, purpose).

    BLAKE2b over the tagged, length-prefixed parts: equal parts give equal seeds on every machine and version, and
    ``("ab", "c")`` is another stream than ``("a", "bc")`` or ``(1,)`` than ``("1",)``.

    Returns:
        A number of 63 bits, which every random generator in use accepts.
    """
    pieces: list[bytes] = []
    for part in (experiment_seed, *parts):
        data = str(part).encode()
        pieces += (b"i" if isinstance(part, int) else b"s", len(data).to_bytes(8, "little"), data)
    state = blake2b(b"".join(pieces), digest_size=8, person=b"openfl_like")
    return int.from_bytes(state.digest(), "little") >> (64 - SEED_BITS)


def assignment_seed(experiment_seed: int, round_number: int, collaborator: str, phase: str) -> int:
    """Derive the seed of an assignment, which is the same however often it is sent.

    Args:
        experiment_seed: The plan's.
        round_number: The round.
        collaborator: Who is asked; empty in the phase ``initialise``, whose model must not depend on who makes it.
        phase: The phase.
    """
    return derive_seed(experiment_seed, round_number, collaborator, phase)


def compression_seed(experiment_seed: int, round_number: int, collaborator: str) -> int:
    """Derive the seed of an update's compression; the site and the Aggregator each do it for themselves."""
    return derive_seed(experiment_seed, round_number, collaborator, "compression")
