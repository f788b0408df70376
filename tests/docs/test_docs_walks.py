import re
from pathlib import Path

import pytest

from tests.docs.walks import walk

pytestmark = [  # they use the ports of the documents, so one after the other
    pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("walks"),
]  # fmt: skip


def test_the_three_ways_of_the_readme_end_with_the_same_bytes(tmp_path: Path) -> None:
    with walk(tmp_path, "README.md") as printed:
        sums = re.findall(r"^([0-9a-f]{64})  \S+\.safetensors$", printed, re.MULTILINE)
        assert len(sums) == 3, printed
        assert len(set(sums)) == 1, printed


def test_sites_that_a_plan_makes_and_their_shard_files_end_with_the_same_bytes(tmp_path: Path) -> None:
    with walk(tmp_path, "docs/simulation.md") as printed:
        sums = re.findall(r"^([0-9a-f]{64})  (\S+)\.safetensors$", printed, re.MULTILINE)
        assert [name for _, name in sums] == ["three-sites", "by-hand"], printed
        assert sums[0][0] == sums[1][0], printed
        assert printed.count("sites of breast_cancer by dirichlet(alpha 0.3)") >= 2, printed


def test_a_dry_run_of_a_new_workspace_is_fine(tmp_path: Path) -> None:
    with walk(tmp_path, "docs/dry-run.md") as printed:
        assert "samples float32[30]" in printed
        assert "nothing would go wrong" in printed


def test_devices_in_virtual_time_end_with_the_same_bytes_in_every_runtime(tmp_path: Path) -> None:
    with walk(tmp_path, "docs/virtual-time.md") as printed:
        sums = re.findall(r"^([0-9a-f]{64})  (\S+)\.safetensors$", printed, re.MULTILINE)
        assert [name for _, name in sums] == ["phones", "the-same"], printed
        assert sums[0][0] == sums[1][0], printed
        assert len(set(re.findall(r"^virtual time +(\S+)$", printed, re.MULTILINE))) == 1, printed
        assert printed.count("missed a round") == 2, printed


def test_a_study_is_run_shared_put_together_and_reported(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("scipy")
    with walk(tmp_path, "docs/studies.md") as printed:
        assert "rates: 18 runs" in printed, printed
        assert "whole has 18 runs: 9 from first, 9 from second" in printed, printed
    report = (tmp_path / "here" / "rates-report" / "report.html").read_text()
    assert report.count("<figure") >= 4


def test_the_quickstart_leads_to_a_model_and_its_federation_can_be_backed_up_and_moved(tmp_path: Path) -> None:
    pages = ("docs/quickstart.md", "docs/upgrade.md")
    with walk(tmp_path, *pages, hosts=("director.example.org",)) as printed:
        assert len(re.findall("^FINISHED: ", printed, re.MULTILINE)) == 2, printed
        assert list((tmp_path / "director.example.org").glob("*.safetensors"))
        moved = printed.split("envoys: 2 connected, 0 away", 1)[1]  # fx status, at the end
        assert len(re.findall(r"^heart_disease-[0-9a-f]{8}  FINISHED", moved, re.MULTILINE)) == 4, moved


def test_the_three_guides_are_one_story(tmp_path: Path) -> None:
    guides = [f"docs/guides/{name}.md" for name in ("administrator", "site-operator", "data-scientist")]
    with walk(tmp_path, *guides, hosts=("ca.example.org", "director.example.org")) as printed:
        assert printed.count("FINISHED: ") == 3, printed
        assert (tmp_path / "laptop.example.org" / "best.npz").exists()
