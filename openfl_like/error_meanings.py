"""What each error means at each edge of the platform: gRPC status, HTTP status, exit code, public text."""

from dataclasses import dataclass

from openfl_like.errors import (
    BundleError,
    CertificateExpiredError,
    ConflictError,
    CredentialError,
    DamagedError,
    DeviceError,
    DryRunError,
    ExperimentCancelledError,
    ExperimentDegradedError,
    ExperimentFailedError,
    FederationError,
    InternalError,
    ModelTooLargeError,
    NameTakenError,
    NotAllowedError,
    NotFoundError,
    PlanError,
    RequirementsError,
    RevokedError,
    RoundClosedError,
    SandboxError,
    SettingsError,
    ShardError,
    ShardMismatchError,
    StorageError,
    StudyError,
    TaskError,
    TensorError,
    TransferError,
    UnauthenticatedError,
    UnreachableError,
    UpdateRefusedError,
    UsageError,
    VersionError,
    WorkspacePartError,
)


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
    RevokedError: Meaning("UNAUTHENTICATED", 401, 3),
    VersionError: Meaning("FAILED_PRECONDITION", 409, 4),
    NotFoundError: Meaning("NOT_FOUND", 404, 4),
    ConflictError: Meaning("FAILED_PRECONDITION", 409, 4),
    NameTakenError: Meaning("FAILED_PRECONDITION", 409, 4),
    ShardMismatchError: Meaning("FAILED_PRECONDITION", 409, 4),
    RoundClosedError: Meaning("FAILED_PRECONDITION", 409, 4),
    UpdateRefusedError: Meaning("INVALID_ARGUMENT", 422, 4),
    DamagedError: Meaning("DATA_LOSS", 500, 4),
    StorageError: Meaning("RESOURCE_EXHAUSTED", 507, 8),
    ModelTooLargeError: Meaning("FAILED_PRECONDITION", 413, 4),
    UnreachableError: Meaning("UNAVAILABLE", 503, 5),
    ExperimentFailedError: Meaning("ABORTED", 409, 1),
    ExperimentCancelledError: Meaning("CANCELLED", 409, 6),
    TaskError: Meaning("ABORTED", 409, 1),
    ShardError: Meaning("FAILED_PRECONDITION", 409, 4),
    ExperimentDegradedError: Meaning("ABORTED", 409, 7),
    RequirementsError: Meaning("FAILED_PRECONDITION", 409, 4),
    DeviceError: Meaning("FAILED_PRECONDITION", 409, 4),
    SandboxError: Meaning("FAILED_PRECONDITION", 409, 4),
    StudyError: Meaning("ABORTED", 409, 1),
    DryRunError: Meaning("ABORTED", 409, 1),
    WorkspacePartError: Meaning("INVALID_ARGUMENT", 422, 2),
    InternalError: Meaning("INTERNAL", 500, 70, public=False),
}

BY_CODE: dict[str, type[FederationError]] = {kind.code: kind for kind in MEANINGS}


def listed(kind: type[FederationError]) -> type[FederationError]:
    """Return the class of the table that an error of this class is one of; the class itself if there is none."""
    return next((base for base in kind.__mro__ if base in MEANINGS), kind)


def from_code(code: str, message: str) -> FederationError:
    """Rebuild the error that a peer reported.

    Args:
        code: A stable code such as ``E203``; an unknown one gives an `InternalError`.
        message: The text the peer sent.
    """
    return BY_CODE.get(code, InternalError)(message)
