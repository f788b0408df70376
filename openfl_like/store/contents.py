"""Small files that the record of an experiment has besides, put back where a power cut has taken them."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from openfl_like.errors import FederationError
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import FileContent
from openfl_like.tensors.manifest import content_digest, file_digest

log = logging.getLogger(__name__)


def put_back(contents: Iterable[FileContent], files: ExperimentFiles) -> list[Path]:
    """Write the files that are not what the record says, and return them.

    Content that is damaged itself puts nothing back; whoever looks at the file then finds it damaged.

    Args:
        contents: What the record has.
        files: Where they belong.
    """
    written = []
    for content in contents:
        path = files.server_state(content.round) if content.is_state else files.model(content.round)
        if _digest(path) == content.digest or content_digest(content.data) != content.digest:
            continue
        log.warning("%s is not what was published; it is written again from the record", path)
        temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
        temporary.write_bytes(content.data)
        temporary.replace(path)
        written.append(path)
    return written


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except FederationError:
        return ""
