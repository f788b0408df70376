"""Tiny packages for tests of environments: wheels, and a source archive that tells if it was built."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path


def write_wheel(folder: Path, name: str, version: str, modules: Mapping[str, str]) -> str:
    """Write a wheel.

    Args:
        folder: Where to; made if it is not there.
        name: Of the package.
        version: Of the package.
        modules: File name -> Python text.

    Returns:
        Its line for a ``requirements.lock``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = f"{name}-{version}.dist-info"
    files = {
        **modules,
        f"{facts}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{facts}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{facts}/RECORD"
    files[record] = "".join(f"{path},,\n" for path in [*files, record])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in files.items():
            archive.writestr(zipfile.ZipInfo(inner), text)
    return _line(name, version, path)


def write_sdist(folder: Path, name: str, version: str, told: Path) -> str:
    """Write a source archive whose build step writes the file ``told``; return its line for a lock."""
    folder.mkdir(parents=True, exist_ok=True)
    setup = (
        f"open({str(told)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name={name!r}, version={version!r})\n"
    )
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for inner, text in (
            ("setup.py", setup),
            ("PKG-INFO", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"),
        ):
            info = tarfile.TarInfo(f"{name}-{version}/{inner}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return _line(name, version, path)


def _line(name: str, version: str, path: Path) -> str:
    return f"{name}=={version} --hash=sha256:{sha256(path.read_bytes()).hexdigest()}"
