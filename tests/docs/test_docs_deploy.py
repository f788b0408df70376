"""The files to deploy: of the form that their programs want, and as closed as the guide says."""

import importlib.resources
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from dockerfile_parse import DockerfileParser
from jsonschema import Draft202012Validator

from openfl_like import __version__
from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import CredentialError
from openfl_like.pki.files import load_credentials
from openfl_like.pki.roles import Role
from openfl_like.services.director.settings import DirectorFile, load_director_file
from openfl_like.testing.certificates import ThrowAwayFederation
from tests.docs.documents import DOCS, ROOT

DEPLOY = DOCS / "deploy"
KUBERNETES = ("1.30", "1.37")
USER = 10001
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
MANIFESTS: list[dict[str, Any]] = [
    manifest
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
]
SETS = [manifest for manifest in MANIFESTS if manifest["kind"] == "StatefulSet"]


def named(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def containers(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    pod = manifest["spec"]["template"]["spec"]
    yield from pod["initContainers"]
    yield from pod["containers"]


# ---- the image


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    place = tmp_path_factory.mktemp("dockerfile")
    shutil.copy(ROOT / "Dockerfile", place)
    found: list[dict[str, Any]] = DockerfileParser(str(place)).structure
    return [item for item in found if item["instruction"] != "COMMENT"]


def of(items: list[dict[str, Any]], instruction: str) -> list[str]:
    return [item["value"] for item in items if item["instruction"] == instruction]


def final(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last = max(index for index, item in enumerate(items) if item["instruction"] == "FROM")
    return items[last:]


def test_the_base_is_one_version_of_the_registry_it_names(dockerfile: list[dict[str, Any]]) -> None:
    (default, *_) = of(dockerfile, "ARG")
    assert re.fullmatch(r"PYTHON=3\.11\.\d+-slim-\w+", default), "an exact version, and a slim one"
    assert {value.split()[0] for value in of(dockerfile, "FROM")} == {"docker.io/library/python:${PYTHON}"}


def test_everything_that_is_installed_has_a_pinned_version(dockerfile: list[dict[str, Any]]) -> None:
    installs = [line for value in of(dockerfile, "RUN") for line in value.split("&&") if "pip install" in line]
    assert installs
    for line in installs:
        assert "-c constraints.txt" in line or "${PACKAGES}" in line, "whoever builds names the versions of PACKAGES"
        assert "--only-binary :all:" in line, "nothing is built from source"


def test_the_final_stage_has_no_compiler_no_source_and_no_root(dockerfile: list[dict[str, Any]]) -> None:
    stage = final(dockerfile)
    text = "\n".join(of(stage, "RUN"))
    assert not re.search(r"\b(apt|apt-get|pip|gcc|make)\b", text)
    assert of(stage, "USER") == [f"{USER}:{USER}"]
    copies = of(stage, "COPY")
    assert [value.split()[0] for value in copies] == ["--from=build"], "nothing of the checkout"
    order = [item["instruction"] for item in stage]
    assert order.index("USER") > max(index for index, kind in enumerate(order) if kind in {"RUN", "COPY"})


def test_it_runs_fx_and_says_how_it_is(dockerfile: list[dict[str, Any]]) -> None:
    stage = final(dockerfile)
    assert of(stage, "ENTRYPOINT") == ['["fx"]']
    (check,) = of(stage, "HEALTHCHECK")
    assert check.endswith('CMD ["fx", "health", "--ready"]')
    assert f'org.opencontainers.image.version="{__version__}"' in " ".join(of(stage, "LABEL"))


def test_only_what_the_wheel_needs_goes_to_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "all is left out but what is named"
    named_paths = [line[1:] for line in lines if line.startswith("!")]
    assert all((ROOT / name).exists() for name in named_paths)
    assert not {"certs", ".git", "tests", "docs"} & set(named_paths)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"pyproject.toml", "setup.py", project["readme"]} <= set(named_paths)


# ---- compose


def test_the_compose_file_is_one() -> None:
    """By the schema of the Compose Specification that check-jsonschema carries."""
    place = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(place.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    check = Draft202012Validator(schema)
    assert [error.message for error in check.iter_errors(COMPOSE)] == []
    assert list(check.iter_errors({**COMPOSE, "services": {"x": {"imagine": "y"}}})), "it would find something"


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_no_service_has_more_than_it_needs(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["user"] == f"{USER}:{USER}"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc", "devices"} & set(service)
    assert all(not volume.startswith(("/", ".")) for volume in service["volumes"])
    for volume in service["volumes"]:
        assert volume.split(":")[0] in COMPOSE["volumes"]
    daemon = service.get("restart") == "unless-stopped"
    assert (service["healthcheck"].get("test") == ["CMD", "fx", "health", "--ready"]) is daemon
    assert not daemon or "mem_limit" in service


def test_only_the_authority_has_the_key_of_the_site_ca() -> None:
    holders = {name for name, one in COMPOSE["services"].items() if "authority:/federation" in one["volumes"]}
    assert holders == {"founder", "ca"}


def test_the_settings_in_compose_are_good(tmp_path: Path) -> None:
    for name, config in COMPOSE["configs"].items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(config["content"])
        if name == "director":
            settings = load_director_file(path)
            assert COMPOSE["services"]["director"]["ports"] == ["50050-50099:50050-50099"]
            assert (settings.ports.start, settings.ports.stop - 1) == (50051, 50099)
        else:
            load_shard_config(path)


# ---- Kubernetes


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=named)
def test_each_manifest_is_one(manifest: dict[str, Any], version: str) -> None:
    """By the schemas of the API servers that kubernetes-validate carries; unknown keys are mistakes."""
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_manifest_with_a_misspelt_key_would_be_found() -> None:
    wrong = {**MANIFESTS[0], "metadatas": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("manifest", SETS, ids=named)
def test_no_pod_has_more_than_it_needs(manifest: dict[str, Any]) -> None:
    """What the Pod Security Standard «restricted» asks, and a read-only root, limits and no service account."""
    pod = manifest["spec"]["template"]["spec"]
    context = pod["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"], context["fsGroup"]) == (True, USER, USER)
    assert context["fsGroupChangePolicy"] == "OnRootMismatch", "otherwise the kubelet opens keys to the group"
    assert context["seccompProfile"]["type"] == "RuntimeDefault"
    assert pod["automountServiceAccountToken"] is False
    assert manifest["spec"]["replicas"] == 1
    for container in containers(manifest):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["image"] == f"openfl_like:{__version__}"
        assert {"cpu", "memory"} == set(container["resources"]["requests"]) == set(container["resources"]["limits"])
    (main,) = pod["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(main)
    assert main["livenessProbe"]["exec"]["command"] == ["fx", "health"], "a lost Director is no reason to be killed"
    modes = [volume["secret"]["defaultMode"] for volume in pod["volumes"] if "secret" in volume]
    assert modes
    assert set(modes) == {0o400}


def test_the_ports_are_those_of_the_settings(tmp_path: Path) -> None:
    config = next(one for one in MANIFESTS if named(one) == "ConfigMap director")
    (tmp_path / "director.yaml").write_text(config["data"]["director.yaml"])
    settings: DirectorFile = load_director_file(tmp_path / "director.yaml")
    wanted = [int(settings.listen.rpartition(":")[2]), *settings.ports]
    service = next(one for one in MANIFESTS if named(one) == "Service director")
    assert [port["port"] for port in service["spec"]["ports"]] == wanted
    director = next(one for one in SETS if named(one) == "StatefulSet director")
    (main,) = director["spec"]["template"]["spec"]["containers"]
    assert [port["containerPort"] for port in main["ports"]] == wanted
    policy = next(one for one in MANIFESTS if named(one) == "NetworkPolicy director")
    (rule,) = policy["spec"]["ingress"][0]["ports"]
    assert (rule["port"], rule["endPort"]) == (wanted[0], wanted[-1])


def test_the_site_settings_are_good(tmp_path: Path) -> None:
    config = next(one for one in MANIFESTS if named(one) == "ConfigMap cleveland")
    (tmp_path / "shard.yaml").write_text(config["data"]["shard.yaml"])
    load_shard_config(tmp_path / "shard.yaml")


def test_what_the_init_container_makes_of_mounted_secrets_can_be_used(tmp_path: Path) -> None:
    """The real script over folders laid out as the kubelet does for a group: links, and files with mode 0440."""
    federation = ThrowAwayFederation(tmp_path, "hospitals")
    given = federation.folder(federation.credentials(Role.DIRECTOR, "central"))
    secrets = tmp_path / "secrets"
    for name, source in (("certificates", given), ("experiment-ca", federation.certs / "experiment-ca")):
        hidden = secrets / name / "..2026_11_22"
        hidden.mkdir(parents=True)
        (secrets / name / "..data").symlink_to(hidden.name)
        for path in source.iterdir():
            shutil.copy(path, hidden / path.name)
            (hidden / path.name).chmod(0o440)
            (secrets / name / path.name).symlink_to(Path("..data", path.name))
    with pytest.raises(CredentialError, match="mode 0440"):
        load_credentials(secrets / "certificates")
    director = next(one for one in SETS if named(one) == "StatefulSet director")
    (first,) = director["spec"]["template"]["spec"]["initContainers"]
    script = first["args"][0].replace("/secrets", str(secrets))
    volume = tmp_path / "volume"
    volume.mkdir()
    for _ in range(2):  # the second start finds what the first has made
        subprocess.run([*first["command"], script], cwd=volume, check=True, timeout=30)
    found = load_credentials(volume / "certs/director/central")
    assert found.identity.uri == "fx://hospitals/director/central"
    assert (volume / "certs/experiment-ca/ca.key").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in volume.iterdir()} == {"certs"}


# ---- systemd


@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_the_units_are_units(path: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    text = path.read_text().replace("/opt/openfl_like/bin/fx", "/bin/true")
    unit = tmp_path / path.name.replace("@.", "@cleveland.")
    unit.write_text(text)
    done = subprocess.run([program, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (ours, done.returncode) == ([], 0), done.stderr
