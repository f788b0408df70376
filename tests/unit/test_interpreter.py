"""Who starts ``fx`` with an older Python reads one line that says so, whatever else that Python cannot read."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import openfl_like

PACKAGE = Path(openfl_like.__file__).parent
OLDER = """
import runpy, sys
sys.version_info = (3, 10, 4, "final", 0)
runpy.run_module("openfl_like", alter_sys=True)
"""


@pytest.mark.children
def test_an_older_python_is_told_in_one_line() -> None:
    told = subprocess.run([sys.executable, "-c", OLDER, "status"], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == f"openfl_like needs Python 3.11 or later; this is 3.10, {sys.executable}\n"


@pytest.mark.children
def test_the_module_is_the_command() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "openfl_like", "--version"], capture_output=True, text=True, check=False
    )
    assert told.stdout == f"fx, version {openfl_like.__version__}\n"


def test_every_python_3_reads_the_line() -> None:
    ast.parse((PACKAGE / "__init__.py").read_text(), feature_version=(3, 4))


def test_pip_and_the_line_say_the_same() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    (least,) = re.findall(r"needs Python (\S+) or later", (PACKAGE / "__init__.py").read_text())
    assert project["requires-python"] == f">={least}"
