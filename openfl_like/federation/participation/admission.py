"""Who may take part, and when there are enough to start."""

from collections.abc import Collection, Sequence

from openfl_like.errors import ShardMismatchError
from openfl_like.federation.parties import Interface, ShardFacts
from openfl_like.plan.schema import Admission


def refusal(admission: Admission, expected: Collection[str], name: str, *, late: bool) -> str:
    """Say why a collaborator may not take part; empty if it may.

    Args:
        admission: The plan's.
        expected: The names asked; empty: everybody who is authorised.
        name: Who wants to take part.
        late: Whether the experiment has started without it.
    """
    if expected and name not in expected:
        return "it is not on the experiment's list of collaborators"
    if late and admission.late_join == "deny":
        return "it came after the start, and the plan does not let late ones in"
    return ""


def needed(admission: Admission, expected: Sequence[str]) -> int:
    """How many collaborators must be there when the waiting ends."""
    return admission.min_collaborators or len(expected) or 1


def complete(admission: Admission, expected: Sequence[str], joined: Collection[str]) -> bool:
    """Whether there is nobody to wait for."""
    enough = len(joined) >= needed(admission, expected)
    return enough and (joined is expected or set(expected) <= set(joined))


def shortage(admission: Admission, expected: Sequence[str], joined: Collection[str]) -> str:
    """Say why the experiment cannot start now that the time is over; empty if it can."""
    count = needed(admission, expected)
    if len(joined) >= count:
        return ""
    total = max(count, len(expected))
    text = f"{len(joined)} of {total} collaborators joined within {admission.timeout_s:g} s"
    absent = sorted(set(expected) - set(joined))
    return f"{text}; missing: {', '.join(absent)}" if absent else text


def check_interface(name: str, shard: ShardFacts, agreed: Sequence[Interface]) -> None:
    """Check that a site's shard has the shapes that the federation agreed on for its interface.

    Args:
        name: The site.
        shard: What it says of the shard.
        agreed: The federation's data interfaces.

    Raises:
        ShardMismatchError: With both shapes, or with the interfaces that there are.
    """
    wanted = {one.name: one for one in agreed}.get(shard.interface)
    if wanted is None:
        raise ShardMismatchError(_unknown_interface(name, shard, agreed), cure=_interface_cure(agreed))
    whose = f"this federation's interface '{wanted.name}'" if wanted.name else "this federation's"
    for what, expected, found in (
        ("sample", wanted.sample_shape, shard.sample_shape),
        ("target", wanted.target_shape, shard.target_shape),
    ):
        if expected != found:
            is_ = "has" if wanted.name else "is"
            key = f"interfaces.{wanted.name}.{what}_shape" if wanted.name else f"{what}_shape"
            raise ShardMismatchError(
                f"the shard of '{name}' has the {what} shape {list(found)}, {whose} {is_} {list(expected)}",
                cure=f"change the shard descriptor, or {key} in director.yaml",
            )


def _unknown_interface(name: str, shard: ShardFacts, agreed: Sequence[Interface]) -> str:
    given = f"has the interface '{shard.interface}'" if shard.interface else "has no interface"
    known = [f"'{one.name}'" for one in agreed if one.name]
    return f"the shard of '{name}' {given}, this federation has {', '.join(known) or 'one without a name'}"


def _interface_cure(agreed: Sequence[Interface]) -> str:
    if any(one.name for one in agreed):
        return "name one of these in the shard.yaml, as interface"
    return "take interface out of the shard.yaml, or give director.yaml interfaces"
