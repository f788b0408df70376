"""The error tree: every failure a user can meet, with a stable code.

    FederationError
    ├── UsageError                 E100  a command was given words it cannot use
    ├── PlanError                  E101  the plan has mistakes (all of them listed)
    ├── SettingsError              E102  director.yaml or shard.yaml has a mistake
    ├── BundleError                E103  a workspace archive is unsafe or damaged
    ├── TensorError                E104  a model file is malformed or does not fit
    ├── TransferError              E105  bytes were lost or changed on the way
    ├── CredentialError            E201  a certificate or key file cannot be used
    ├── UnauthenticatedError       E202  the peer's identity could not be established
    ├── NotAllowedError            E203  the peer's role may not do this
    ├── CertificateExpiredError    E204  the peer's certificate is out of date
    ├── NotFoundError              E301  no such experiment, envoy, version
    ├── ConflictError              E302  the present state does not allow this
    ├── ShardMismatchError         E303  a shard does not fit the federation's data interface
    ├── RoundClosedError           E304  the update came after its round had closed
    ├── UpdateRefusedError         E305  the update failed its checks
    ├── UnreachableError           E401  the other side does not answer
    ├── ExperimentFailedError      E501  the experiment ended FAILED
    ├── ExperimentCancelledError   E502  the experiment was cancelled
    ├── TaskError                  E503  a task raised or its worker died
    ├── ShardError                 E504  the shard descriptor raised or gave unusable data
    └── InternalError              E900  a defect in the platform itself

One table below ties each class to its gRPC status, HTTP status and exit code; a test checks that it is complete.
"""

from dataclasses import dataclass
from typing import ClassVar


class FederationError(Exception):
    """Base of every error the platform raises on purpose.

    Args:
        message: What went wrong, in one sentence.
        place: Where: a file with line, a YAML path, a peer; empty where there is none.
        cure: What the reader can do about it; empty where nothing helps.
    """

    code: ClassVar[str] = "E000"

    def __init__(self, message: str, *, place: str = "", cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.cure = cure

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text} ({self.cure})" if self.cure else text


class UsageError(FederationError):
    """A command was given an option or argument that it cannot use."""

    code = "E100"


class PlanError(FederationError):
    """The plan has mistakes; the message lists all of them with YAML path and line."""

    code = "E101"

    def __init__(self, message: str, *, place: str = "", cure: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, place=place, cure=cure)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  - {problem}" for problem in self.problems)])


class SettingsError(FederationError):
    """A settings file (director.yaml, shard.yaml) is missing or has mistakes; the message lists all of them."""

    code = "E102"

    def __init__(self, message: str, *, place: str = "", cure: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, place=place, cure=cure)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  - {problem}" for problem in self.problems)])


class BundleError(FederationError):
    """A workspace archive is unsafe (path, link, size) or does not have the promised digest."""

    code = "E103"


class TensorError(FederationError):
    """A model file is malformed, or its names, shapes or dtypes are not the agreed ones."""

    code = "E104"


class TransferError(FederationError):
    """A transfer ended early or its bytes do not have the promised digest."""

    code = "E105"


class CredentialError(FederationError):
    """A certificate or key file is missing, unreadable, readable by others, or of the wrong role."""

    code = "E201"


class UnauthenticatedError(FederationError):
    """The peer showed no certificate of this federation, so nothing is served to it."""

    code = "E202"


class NotAllowedError(FederationError):
    """The peer is known, but the role table does not give its role this call."""

    code = "E203"


class CertificateExpiredError(FederationError):
    """The peer's certificate is expired or not yet valid."""

    code = "E204"


class NotFoundError(FederationError):
    """There is no experiment, envoy, model version or file of that name."""

    code = "E301"


class ConflictError(FederationError):
    """The request does not fit the present state, for example cancelling an ended experiment."""

    code = "E302"


class ShardMismatchError(FederationError):
    """The envoy's shard has another sample or target shape than the federation agreed on."""

    code = "E303"


class RoundClosedError(FederationError):
    """The update belongs to a round that is not open any more."""

    code = "E304"


class UpdateRefusedError(FederationError):
    """The update's tensors, counts or digest failed a check; the global model is unchanged."""

    code = "E305"


class UnreachableError(FederationError):
    """The other side could not be reached or stopped answering."""

    code = "E401"


class ExperimentFailedError(FederationError):
    """The experiment ended FAILED; the reason names the site and the cause."""

    code = "E501"


class ExperimentCancelledError(FederationError):
    """The experiment was cancelled before it finished."""

    code = "E502"


class TaskError(FederationError):
    """A task of the submitted workspace raised, or the worker that ran it died."""

    code = "E503"


class ShardError(FederationError):
    """The shard descriptor could not be loaded, raised, or gave data that does not fit its schema."""

    code = "E504"


class InternalError(FederationError):
    """A defect in the platform: please report it with the log around it."""

    code = "E900"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error means at each edge of the platform.

    Attributes:
        grpc_status: Name of the gRPC status.
        http_status: HTTP status code.
        exit_code: Exit code of an ``fx`` command.
        public: Whether the message may leave the process; otherwise peers see only the code.
    """

    grpc_status: str
    http_status: int
    exit_code: int
    public: bool = True


MEANINGS: dict[type[FederationError], Meaning] = {
    UsageError: Meaning("INVALID_ARGUMENT", 400, 2),
    PlanError: Meaning("INVALID_ARGUMENT", 422, 2),
    SettingsError: Meaning("INVALID_ARGUMENT", 422, 2),
    BundleError: Meaning("INVALID_ARGUMENT", 422, 2),
    TensorError: Meaning("INVALID_ARGUMENT", 422, 2),
    TransferError: Meaning("DATA_LOSS", 422, 5),
    CredentialError: Meaning("UNAUTHENTICATED", 401, 3),
    UnauthenticatedError: Meaning("UNAUTHENTICATED", 401, 3),
    NotAllowedError: Meaning("PERMISSION_DENIED", 403, 3),
    CertificateExpiredError: Meaning("UNAUTHENTICATED", 401, 3),
    NotFoundError: Meaning("NOT_FOUND", 404, 4),
    ConflictError: Meaning("FAILED_PRECONDITION", 409, 4),
    ShardMismatchError: Meaning("FAILED_PRECONDITION", 409, 4),
    RoundClosedError: Meaning("FAILED_PRECONDITION", 409, 4),
    UpdateRefusedError: Meaning("INVALID_ARGUMENT", 422, 4),
    UnreachableError: Meaning("UNAVAILABLE", 503, 5),
    ExperimentFailedError: Meaning("ABORTED", 409, 1),
    ExperimentCancelledError: Meaning("CANCELLED", 409, 6),
    TaskError: Meaning("ABORTED", 409, 1),
    ShardError: Meaning("FAILED_PRECONDITION", 409, 4),
    InternalError: Meaning("INTERNAL", 500, 70, public=False),
}

BY_CODE: dict[str, type[FederationError]] = {kind.code: kind for kind in MEANINGS}


def from_code(code: str, message: str) -> FederationError:
    """Rebuilds the error that a peer reported.

    Args:
        code: A stable code such as ``E203``; an unknown one gives an `InternalError`.
        message: The text the peer sent.
    """
    return BY_CODE.get(code, InternalError)(message)
