"""Puts the ready-made plans and workspace templates into the wheel; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
SHIPPED = ("plans", "workspace_templates")


class BuildWithPlans(build_py):
    """Copies the shipped folders to ``openfl_like/_shipped``, where `openfl_like.plan.workspace` looks first."""

    def run(self) -> None:
        """Builds the package, then adds the folders; an editable install uses those of the checkout."""
        super().run()
        if self.editable_mode:
            return
        for source, target in self._shipped():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:  # noqa: FBT001, FBT002 - setuptools' own signature
        """Lists the files that are built."""
        outputs: list[str] = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, *(str(target) for _, target in self._shipped())]

    def _shipped(self) -> list[tuple[Path, Path]]:
        base = Path(self.build_lib) / "openfl_like" / "_shipped"
        files = (path for folder in SHIPPED for path in sorted((HERE / folder).rglob("*")))
        return [
            (path, base / path.relative_to(HERE))
            for path in files
            if path.is_file() and "__pycache__" not in path.parts
        ]


setup(cmdclass={"build_py": BuildWithPlans})
