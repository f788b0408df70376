"""What a check gives: what was seen, why it is so, what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from openfl_like.errors import FederationError


class Verdict(StrEnum):
    """What a finding means."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found.

    Attributes:
        name: Of the check; stable, for programs.
        verdict: Whether it is in order; ``skip``: it could not be looked at, since another check failed.
        seen: What was seen.
        cause: Why that can be; empty where all is in order.
        cure: What to do; as above.
        problems: The single mistakes, where there can be several.
    """

    name: str
    verdict: Verdict
    seen: str
    cause: str = ""
    cure: str = ""
    problems: tuple[str, ...] = ()


def meaning_of(kind: type[FederationError]) -> tuple[str, str, str]:
    """Return summary, cause and cure of an error, from its docstring; cause and cure else from that of its base."""
    texts = [" ".join(text.split()) for text in (kind.__doc__ or "").split("\n\n")]
    found = {
        label: text.removeprefix(label) for text in texts for label in ("Cause: ", "Cure: ") if text.startswith(label)
    }
    base = kind.__base__
    if not found and base is not None and issubclass(base, FederationError):
        return texts[0], *meaning_of(base)[1:]
    return texts[0], found.get("Cause: ", ""), found.get("Cure: ", "")


def fine(name: str, seen: str) -> Finding:
    """All is in order."""
    return Finding(name, Verdict.OK, seen)


def warning(name: str, seen: str, cause: str, cure: str) -> Finding:
    """It works, but not as it should, or not for long."""
    return Finding(name, Verdict.WARN, seen, cause, cure)


def failure(name: str, seen: str, cause: str, cure: str) -> Finding:
    """It cannot work like that."""
    return Finding(name, Verdict.FAIL, seen, cause, cure)


def refusal(name: str, error: FederationError, cause: str = "", cure: str = "") -> Finding:
    """The same error would stop a daemon or a command.

    Args:
        name: Of the check.
        error: It; its class says cause and cure where nothing better is given.
        cause: Better than that.
        cure: As above.
    """
    _, usual_cause, usual_cure = meaning_of(type(error))
    if isinstance(error.__cause__, FileNotFoundError):
        usual_cause = "the path is wrong, or it was not made yet"
    seen = f"{error.place}: {error.message}" if error.place else error.message
    problems: tuple[str, ...] = getattr(error, "problems", ())
    cures = cure or error.cure or usual_cure
    return Finding(name, Verdict.FAIL, f"{error.code} {seen}", cause or usual_cause, cures, problems)


def failed(findings: Iterable[Finding]) -> bool:
    """Whether anything cannot work."""
    return any(finding.verdict is Verdict.FAIL for finding in findings)
