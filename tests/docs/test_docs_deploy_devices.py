"""Devices of limited size, and the job of a cluster: files that are of their form, and say commands that there are."""

import importlib.resources
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from openfl_like.data.shard_file import load_shard_config
from tests.docs.documents import CONTEXT, DOCS, ROOT, command_of

DEPLOY = DOCS / "deploy"
BASE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OVERLAY: dict[str, Any] = yaml.safe_load((DEPLOY / "devices.yaml").read_text())
SERVICES: dict[str, Any] = OVERLAY["services"]
DEVICES = ("board", "phone")
JOB = DEPLOY / "cluster" / "simulate.sbatch"


def filled(value: str) -> str:
    """What Compose makes of ``${NAME:-default}`` where nothing is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def test_the_file_is_of_the_form_of_compose() -> None:
    place = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    check = Draft202012Validator(json.loads(place.read_text(encoding="utf-8")))
    assert [error.message for error in check.iter_errors(OVERLAY)] == []


def test_all_that_it_names_is_there_or_in_the_file_that_it_lies_upon() -> None:
    services, volumes = {**BASE["services"], **SERVICES}, {**BASE["volumes"], **OVERLAY["volumes"]}
    assert not set(BASE["services"]) & set(SERVICES), "it adds, and changes nothing"
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(volumes)
        assert set(service.get("networks", [])) <= set(BASE["networks"])
        assert {config["source"] for config in service.get("configs", [])} <= set(OVERLAY["configs"])
        assert service.get("image") in {BASE["services"]["director"]["image"], "openfl_like-line:0.2.0"}


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_is_capped_and_has_no_privilege(name: str) -> None:
    device, line = SERVICES[name], SERVICES[f"{name}-line"]
    assert 0 < float(filled(device["cpus"])) <= 1
    assert re.fullmatch(r"\d+[mg]", filled(device["mem_limit"]))
    assert device["memswap_limit"] == device["mem_limit"], "no swap"
    assert device["network_mode"] == f"service:{name}-line"
    assert "networks" not in device
    assert device["depends_on"][f"{name}-line"] == {"condition": "service_healthy"}, "limited before it starts"
    assert (device["user"], device["cap_drop"], device["read_only"]) == ("10001:10001", ["ALL"], True)
    assert not {"privileged", "cap_add"} & set(device)
    assert (line["cap_drop"], line["cap_add"], line["restart"]) == (["ALL"], ["NET_ADMIN"], "no")
    assert {*line["environment"]} == {"UP", "DOWN"}
    assert all(re.fullmatch(r"\d+[km]bit", filled(rate)) for rate in line["environment"].values())
    assert not {"volumes", "privileged"} & set(line), "it sees nothing of anybody"


def test_the_line_is_made_of_what_the_dockerfile_is_made_of() -> None:
    (tag,) = re.findall(r"^ARG PYTHON=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    inline = SERVICES["board-line"]["build"]["dockerfile_inline"].splitlines()
    assert inline[0] == f"FROM docker.io/library/python:{tag}"


@pytest.mark.parametrize("name", DEVICES)
def test_the_command_of_a_device_is_one(name: str) -> None:
    command, rest = command_of(SERVICES[name]["command"])
    found = command.make_context("envoy", rest, parent=CONTEXT).params
    assert (found["name"], found["director"], found["spare_worker"]) == (name, "director:50050", False)


def test_the_commands_in_scripts_are_some() -> None:
    scripts = "\n".join(service["command"][0] for service in SERVICES.values() if "entrypoint" in service)
    found = [words.replace('"$$@"', "board").split() for words in re.findall(r"\bfx ([^<>&;|}]+)", scripts)]
    for words in found:
        command, rest = command_of(words)
        command.make_context("fx", rest, parent=CONTEXT)
    assert {tuple(words[:2]) for words in found} == {("pki", "token"), ("pki", "enroll")}


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "entrypoint" in service])
def test_the_scripts_are_of_the_shell(name: str) -> None:
    service = SERVICES[name]
    assert service["entrypoint"] == ["sh", "-euc"]
    script = service["command"][0].replace("$$", "$")
    subprocess.run(["sh", "-n"], input=script, text=True, check=True, timeout=10)  # noqa: S607 (any shell)


def test_the_settings_of_devices_are_good(tmp_path: Path) -> None:
    for config in OVERLAY["configs"].values():
        (tmp_path / "shard.yaml").write_text(config["content"])
        load_shard_config(tmp_path / "shard.yaml")


def test_the_guide_says_the_limits_that_there_are() -> None:
    (rows,) = re.findall(r"^\| processors \|.*?(?=\n\n)", (DEPLOY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`((?:BOARD|PHONE)_\w+)`", rows))
    assert named == set(re.findall(r"\$\{(\w+):-", (DEPLOY / "devices.yaml").read_text()))
    words = {"1.0": "1.0", "0.5": "0.5", "1g": "1 GiB", "512m": "512 MiB"}
    for line, key in zip(rows.splitlines(), ("cpus", "mem_limit", "UP", "DOWN"), strict=True):
        values = [
            filled(SERVICES[f"{name}-line"]["environment"][key] if key.isupper() else SERVICES[name][key])
            for name in DEVICES
        ]
        told = [words.get(value, value.replace("mbit", " Mbit/s")) for value in values]
        assert line.split("|")[2:4] == [f" {value} " for value in told]


# ---- the job


def test_the_job_is_of_the_shell_and_says_what_slurm_reads() -> None:
    subprocess.run(["bash", "-n", str(JOB)], check=True, timeout=10)  # noqa: S607 (any bash)
    lines = JOB.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert all(line.startswith("#") for line in lines[:first]), "Slurm reads no further than the first command"
    assert all(re.fullmatch(r"--[a-z-]+(=[\w:.-]+)?", option) for option in options)
    assert {"--nodes=2", "--ntasks-per-node=8", "--requeue", "--open-mode=append"} <= set(options)


@pytest.mark.parametrize("image", ["", "openfl_like.sif"])
def test_the_command_of_the_job_is_one(tmp_path: Path, image: str) -> None:
    """The script with an mpiexec that only says what it was given."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mpiexec").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "bin" / "mpiexec").chmod(0o755)
    environment = {**os.environ, "SLURM_NTASKS": "16", "VENV": str(tmp_path), "IMAGE": image, "STUDY": "my study"}
    done = subprocess.run(
        ["bash", str(JOB)],  # noqa: S607 (any bash)
        env=environment,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=10,
    )
    words = done.stdout.splitlines()
    inside = ["apptainer", "exec", "--bind", str(tmp_path), "--pwd", str(tmp_path), image] if image else []
    assert words[: words.index("fx")] == ["-n", "16", *inside]
    command, rest = command_of(words[words.index("fx") + 1 :])
    found = command.make_context("simulate", rest, parent=CONTEXT).params
    assert (found["runtime"], str(found["directory"])) == ("mpi", "my study/record")
