"""Runs the tests that need an NVIDIA GPU; where there is none it says so, and that is no failure.

Run by make: ``python tools/gpu.py``. A machine that has a GPU which PyTorch or the monitor cannot use is a failure: its
owner would think that it was tried.
"""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence

LIST = ("nvidia-smi", "--list-gpus")


def gpus_of_driver() -> list[str]:
    """Return what the driver's own tool lists; nothing where there is no driver or no GPU."""
    if shutil.which(LIST[0]) is None:
        return []
    told = subprocess.run(LIST, capture_output=True, text=True, check=False)
    return told.stdout.splitlines() if told.returncode == 0 else []


def lacking() -> list[str]:
    """Return what keeps the tests from using a GPU that is there, each with what to do."""
    import torch  # noqa: PLC0415 - only where there is a GPU: it takes seconds

    problems = []
    if not torch.cuda.is_available():
        problems.append(f"this PyTorch ({torch.__version__}) cannot use it: install a build for the driver")
    if importlib.util.find_spec("pynvml") is None:
        problems.append("the monitor's library is not here: pip install -c constraints.txt nvidia-ml-py")
    return problems


def main(arguments: Sequence[str]) -> int:
    """Look for a GPU, and run the tests if there is one."""
    found = gpus_of_driver()
    if not found:
        print("there is no NVIDIA GPU on this machine (nvidia-smi lists none): nothing is tested")
        return 0
    print("\n".join(found))
    problems = lacking()
    for problem in problems:
        print(f"a GPU is here, but {problem}", file=sys.stderr)
    if problems:
        return 1
    return subprocess.run([sys.executable, "-m", "pytest", "tests/gpu", *arguments], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
