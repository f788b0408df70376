"""What several commands read alike: paths and addresses."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from openfl_like.cli.options import FOLDER, director_options, named_files
from openfl_like.cli.pki.commands import pki
from openfl_like.cli.workspace import workspace
from openfl_like.errors import UsageError


@click.command()
@director_options
def tell(director: str, certificates: Path | None) -> None:
    click.echo(f"{director} {certificates}")


def run(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(tell, list(words), env=environment)


@pytest.mark.parametrize("start", ["~", "$HOME", "${HOME}"])
def test_the_home_directory_in_options_and_variables(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert run(f"--certificates={start}/certs").output == "localhost:50050 /home/ada/certs\n"
    assert run(FX_CERTIFICATES=f"{start}/certs").output == "localhost:50050 /home/ada/certs\n"
    assert named_files((f"site-1={start}/x.yaml",), "--model") == {"site-1": Path("/home/ada/x.yaml")}


def test_a_name_that_is_there_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="--shard: 'bern' is there twice"):
        named_files(("bern=bern.yaml", "basel=basel.yaml", "bern=basel.yaml"), "--shard")


def test_what_is_made_is_made_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(pki, ["init", "--federation", "f", "--dir=$HOME/certs"]).exit_code == 0
    assert CliRunner().invoke(workspace, ["create", "~/study", "-t", "numpy_breast_cancer"]).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["certs", "study"]
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_variable_that_nobody_replaces_is_refused() -> None:
    result = run("--certificates=$DATA/certs")
    assert result.exit_code == 2
    assert "the variable $DATA is not replaced here, only $HOME is; write the path out" in result.output
    with pytest.raises(click.BadParameter):
        FOLDER.convert("$DATA/x", None, None)


def test_an_address_is_taken_or_told_how_it_is_written() -> None:
    assert run("-d", "[::1]:50050").output == "[::1]:50050 None\n"
    result = run(FX_DIRECTOR="::1:50050")
    assert result.exit_code == 2
    assert "an IPv6 address stands in brackets; write [::1]:50050" in result.output
    assert "the port is missing; write fx.example.org:50050" in run("-d", "fx.example.org").output
