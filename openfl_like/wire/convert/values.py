"""What all conversions share: JSON and manifests."""

import json
import re

from openfl_like.federation.failure import Failure, failure_from_fields, fields_of_failure
from openfl_like.federation.parties import Interface
from openfl_like.peer_json import read_peer_json
from openfl_like.tensors.manifest import Manifest
from openfl_like.wire.channel import MESSAGE_LIMIT
from openfl_like.wire.protos import federation_pb2 as pb

_DIGEST = re.compile(r"[0-9a-f]{64}")


def digest_from(text: str) -> str:
    """Return the digest that names a file; empty where there is none.

    Raises:
        ValueError: If it is not one: digests become names of files.
    """
    if text and not _DIGEST.fullmatch(text):
        raise ValueError(f"{text[:64]!a} is not a valid digest: it has 64 hexadecimal digits")
    return text


def encode_json(value: object) -> str:
    """Return the one form of a JSON value: sorted, without spaces."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def decode_mapping(text: str) -> dict[str, object]:
    """Return the JSON object of a message; empty for no text; raises ValueError for anything else."""
    value = read_peer_json(text or "{}", MESSAGE_LIMIT)
    if not isinstance(value, dict):
        raise ValueError(f"{text[:40]!r} is not a valid JSON object")  # noqa: TRY004 (what a peer sent, no caller's type)
    return value


def manifest_to(value: Manifest) -> pb.Manifest:
    """Return the message of a manifest."""
    return pb.Manifest(encoded=value.to_bytes())


def manifest_from(message: pb.Manifest) -> Manifest:
    """Return the manifest of a message; raises TransferError for a malformed one."""
    return Manifest.from_bytes(message.encoded)


def failure_to(value: Failure) -> pb.Failure:
    """Return the message of a failure."""
    return pb.Failure(**fields_of_failure(value))  # type: ignore[arg-type] # the same names and types


def failure_from(message: pb.Failure) -> Failure:
    """Return the failure of a message, its texts bounded; raises ValueError for a malformed one."""
    return failure_from_fields({field.name: value for field, value in message.ListFields()})


def interface_to(value: Interface) -> pb.Interface:
    """Return the message of a data interface."""
    return pb.Interface(name=value.name, sample_shape=value.sample_shape, target_shape=value.target_shape)


def interface_from(message: pb.Interface) -> Interface:
    """Return a data interface."""
    return Interface(message.name, tuple(message.sample_shape), tuple(message.target_shape))
