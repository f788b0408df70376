"""Recorded figures become tables and plots."""

import importlib
import shutil
from pathlib import Path
from types import ModuleType

import pytest

# matplotlib asks a program for the fonts of the machine when it does not know them yet.
pytestmark = pytest.mark.children

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "tests" / "assets" / "benchmarks"


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("report")


def written(report: ModuleType, directory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.argv", ["report.py", "--directory", str(directory)])
    report.main()
    return (directory / "README.md").read_text(encoding="utf-8")


def test_every_benchmark_has_a_table_and_a_plot(
    report: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(RECORDED, tmp_path, dirs_exist_ok=True)
    (tmp_path / "README.md").write_text(f"# Ours\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n")
    text = written(report, tmp_path, monkeypatch)
    assert [name for name in report.NAMES.values() if f"### {name}\n" not in text] == []
    for plot in report.PLOTS.values():
        assert f"]({plot}.svg)" in text
        assert (tmp_path / f"{plot}.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")
    assert "Measured on 2 cores of A processor (family 6, model 1), 24 GB of memory; python 3.11" in text
    assert "| 20MB in 10 x 2 | 0.4 s/round |" in text
    assert "| another 1.0 | 2 x 1000 | 0.5 |" in text
    assert "| 100 of 1000, 10 rounds | 0.007 s/training | 0.0062 to 0.0073 | 143 |" in text
    assert "| another 1.0 | 100 of 1000, 10 rounds, Ray | 0.5 | 200 |" in text
    assert text.startswith("# Ours\n")
    assert text.endswith("\n\nafter\n")
    assert "old" not in text
    assert written(report, tmp_path, monkeypatch) == text


def test_a_document_without_a_place_for_figures_is_left_alone(
    report: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(RECORDED, tmp_path, dirs_exist_ok=True)
    (tmp_path / "README.md").write_text("# Ours\n")
    with pytest.raises(SystemExit, match="the document lacks"):
        written(report, tmp_path, monkeypatch)
    assert (tmp_path / "README.md").read_text() == "# Ours\n"


def test_columns_without_a_value_are_left_out(report: ModuleType) -> None:
    lines = [{"case": "a", "limit": None}, {"case": "b", "limit": 150.0}]
    columns = {name: report.COLUMNS[name] for name in ("case", "floor", "limit")}
    assert report.table(lines, columns) == "| case | limit |\n| --- | --- |\n| a |  |\n| b | 150 |"


def test_the_published_document_has_a_place_for_figures(report: ModuleType) -> None:
    document = (ROOT / "docs" / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert report.put(document, "new").count("\n\nnew\n\n") == 1
