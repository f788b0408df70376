from pathlib import Path

import pytest

from openfl_like.errors import NotAllowedError
from openfl_like.store.site_files import SiteFiles, algorithm_state


def test_an_experiment_s_folder_is_emptied_but_for_what_the_algorithm_keeps(tmp_path: Path) -> None:
    files = SiteFiles(tmp_path).experiment("exp-0a1b2c3d")
    files.clear()
    kept = algorithm_state(files.run) / "000003.safetensors"
    for path in (files.workspace / "src/code.py", files.run / "updates/0001", files.run / "progress", kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    files.received.plan.touch()
    (files.run / "elsewhere").symlink_to(tmp_path)
    files.clear()
    left = {path.relative_to(files.directory).as_posix() for path in files.directory.rglob("*")}
    assert left == {"run", "run/algorithm", "run/algorithm/000003.safetensors"}
    assert files.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "name", ["", "..", "../../elsewhere-0a1b2c3d", "/exp-0a1b2c3d", "environments", "exp-0a1b2c3d\n", "x" * 500]
)
def test_an_order_names_no_folder_but_an_experiment_s(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotAllowedError, match="not a valid id"):
        SiteFiles(tmp_path).experiment(name)
