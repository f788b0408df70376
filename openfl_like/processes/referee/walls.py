"""How a referee confines itself, before it loads anything of the workspace."""

import resource
from collections.abc import Sequence
from pathlib import Path

from openfl_like.processes.sandbox import seccomp
from openfl_like.processes.sandbox.confinement import Confinement, alone, confine
from openfl_like.processes.sandbox.landlock import Access
from openfl_like.processes.sandbox.reach import code_rules

MOST_FILES = 256
_MIB = 1 << 20


def confine_to(reads: Sequence[Path], writes: Sequence[Path] = ()) -> Confinement:
    """Leave this process nothing but reading code and these paths, and return what was reached.

    Args:
        reads: What it may read besides the interpreter and packages.
        writes: Folders in which it may make, change and remove plain files.
    """
    if not alone():
        return Confinement()
    given = ((Access.READ, reads), (Access.EXCHANGE, writes))
    further = [(path.resolve(), access) for access, paths in given for path in paths]
    return confine(code_rules(further))


def put_up(workspace: Path, memory_mb: int) -> Confinement:
    """Put up all walls of a referee: it reads code, writes no file, starts nothing, and has so much memory."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    reached = confine_to([workspace])
    if reached.sufficient:
        seccomp.seal_off()
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * _MIB, memory_mb * _MIB))
    return reached
