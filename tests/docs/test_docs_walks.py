import re
from pathlib import Path

import pytest

from tests.docs.walks import walk

pytestmark = [  # they use the ports of the documents, so one after the other
    pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("walks"),
]  # fmt: skip


def test_the_three_ways_of_the_readme_end_with_the_same_bytes(tmp_path: Path) -> None:
    with walk("README.md", tmp_path) as printed:
        sums = re.findall(r"^([0-9a-f]{64})  \S+\.safetensors$", printed, re.MULTILINE)
        assert len(sums) == 3, printed
        assert len(set(sums)) == 1, printed


def test_the_quickstart_leads_to_a_model(tmp_path: Path) -> None:
    with walk("docs/quickstart.md", tmp_path, director="director.example.org") as printed:
        assert "FINISHED: " in printed
        assert list((tmp_path / "localhost").glob("*.safetensors"))
