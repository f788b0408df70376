"""director.yaml: every mistake at once, paths from where the file is."""

from pathlib import Path

import pytest

from openfl_like.errors import PlanError, SettingsError
from openfl_like.federation.parties import Interface
from openfl_like.plan.section import PartOrigin
from openfl_like.processes.sandbox.confinement import Confinement
from openfl_like.services.director.settings import (
    DirectorFile,
    RefereeKind,
    check_plan_here,
    check_referee,
    load_director_file,
)
from openfl_like.testing.faults.checkpoint_moves import PLAN

LEAST = "sample_shape: [8, 8]\ntarget_shape: []\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "director.yaml"
    path.write_text(LEAST)
    return path


def mistakes(file: Path, text: str) -> list[str]:
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_director_file(file)
    return [problem.removeprefix(f"{file}:") for problem in caught.value.problems]


def test_shapes_are_all_it_needs(file: Path, tmp_path: Path) -> None:
    found = load_director_file(file)
    assert (found.sample_shape, found.target_shape) == ((8, 8), ())
    assert found.listen == "localhost:50050"
    assert found.reachable_host == "localhost"
    assert found.ports == range(50051, 50100)
    assert found.state == tmp_path / "director-state"
    assert found.experiment_ca == tmp_path / "certs" / "experiment-ca"


def test_an_absolute_path_stays(file: Path) -> None:
    file.write_text(LEAST + "state: /var/lib/director\n")
    assert load_director_file(file).state == Path("/var/lib/director")


@pytest.mark.parametrize(
    ("text", "ports"), [('"0"', range(1)), ('"50051"', range(50051, 50052)), ('"7-9"', range(7, 10))]
)
def test_ports_are_one_or_a_range(file: Path, text: str, ports: range) -> None:
    file.write_text(f"{LEAST}aggregator_ports: {text}\n")
    assert load_director_file(file).ports == ports


@pytest.mark.parametrize(("ports", "parallel"), [("50051", 1), ("50051-50056", 3), ("0", 9)])
def test_two_ports_for_each_that_runs_at_once_are_enough(file: Path, ports: str, parallel: int) -> None:
    file.write_text(f'{LEAST}parallel: {parallel}\naggregator_ports: "{ports}"\n')
    assert load_director_file(file).parallel == parallel


@pytest.mark.parametrize("ports", ["50051", "50051-50055"])
def test_too_few_ports_are_a_mistake_with_its_cure(file: Path, ports: str) -> None:
    (problem,) = mistakes(file, f'{LEAST}aggregator_ports: "{ports}"\nparallel: 3\n')
    count = 1 if ports == "50051" else 5
    assert problem == (
        f"4: parallel: 3 experiments at once take 6 ports, 2 each, and aggregator_ports {ports} has {count}; "
        "widen it to 50051-50056, or lower parallel"
    )


def test_at_least_one_experiment_runs_at_a_time(file: Path) -> None:
    (problem,) = mistakes(file, f"{LEAST}parallel: 0\n")
    assert problem.startswith("3: parallel: ")


def test_the_one_interface_has_no_name_and_several_have(file: Path) -> None:
    assert load_director_file(file).agreed == (Interface("", (8, 8), ()),)
    file.write_text(
        "interfaces:\n  a: {sample_shape: [2], target_shape: [1]}\n  b: {sample_shape: [], target_shape: []}\n"
    )
    assert load_director_file(file).agreed == (Interface("a", (2,), (1,)), Interface("b", (), ()))


def test_interfaces_are_read_as_strictly_as_all_else(file: Path) -> None:
    (both,) = mistakes(file, f"{LEAST}interfaces: {{a: {{sample_shape: [2], target_shape: []}}}}\n")
    assert "sample_shape and target_shape and interfaces exclude each other; leave out one of them" in both
    found = mistakes(file, "interfaces:\n  A: {sample_shape: [2], target_shape: []}\n  b: {sample_shape: [-1]}\n")
    assert len(found) == 3
    assert any(line.startswith("3: interfaces.b.sample_shape[0]: must be at least 0") for line in found)
    assert "3: interfaces.b.target_shape: this key is required" in found


NAMED = DirectorFile.model_validate({"interfaces": {"tables": {"sample_shape": [13], "target_shape": []}}})
PLAIN = DirectorFile(sample_shape=(1,), target_shape=())


@pytest.mark.parametrize(
    ("interface", "settings", "message"),
    [
        (None, NAMED, "this federation has several kinds of data (name one of its interfaces: tables)"),
        ("table", NAMED, "this federation has no interface 'table' (did you mean 'tables'?)"),
        ("tables", PLAIN, "the data interfaces of this federation have no names (leave the key out)"),
    ],
)
def test_a_plan_names_an_interface_that_there_is(interface: str | None, settings: DirectorFile, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        check_plan_here(PLAN.model_copy(update={"interface": interface}), settings)
    assert str(caught.value) == f"interface: {message}"
    for fine, given in ((None, PLAIN), ("tables", NAMED)):
        check_plan_here(PLAN.model_copy(update={"interface": fine}), given)


def test_envoys_can_be_given_another_host(file: Path) -> None:
    file.write_text(f'{LEAST}listen: "0.0.0.0:50050"\naggregator_host: director.example.org\n')
    assert load_director_file(file).reachable_host == "director.example.org"


def test_certificates_outlast_the_silence_of_an_envoy(file: Path) -> None:
    (problem,) = mistakes(file, f"{LEAST}heartbeat_s: 1000\ncertificate_hours: 1\n")
    assert problem == (
        "4: certificate_hours: 1 h are over before a silent envoy is noticed (4 x heartbeat_s = 4000 s); "
        "raise it, or lower heartbeat_s"
    )


def test_all_mistakes_are_named_at_once(file: Path) -> None:
    found = mistakes(
        file,
        "listen: localhost\n"
        'aggregator_ports: "50099-50051"\n'
        "sample_shape: [8, -1]\n"
        "heartbeat: 5\n"
        "heartbeat_s: 0\n"
        "certificate_hours: soon\n",
    )
    text = "\n".join(found)
    for line in (
        "1: listen: 'localhost' is not of the form HOST:PORT: the port is missing; write localhost:50050",
        "2: aggregator_ports: must be a port or a range 'first-last' of ports up to 65535, not '50099-50051'",
        "3: sample_shape[1]: must be at least 0, not -1",
        "4: heartbeat: unknown key; did you mean 'heartbeat_s'?",
        "5: heartbeat_s: must be more than 0, not 0",
        "6: certificate_hours: must be a finite number, not 'soon'",
        "target_shape: this key is required",
    ):
        assert line in text
    assert len(found) == 7


@pytest.mark.parametrize("ports", ["", "-", "1-", "-1", "1-2-3", "65536", "1-65536", "9-7", "a", "²", "1 - 2"])
def test_what_is_no_range_of_ports(file: Path, ports: str) -> None:
    (found,) = mistakes(file, f'{LEAST}aggregator_ports: "{ports}"\n')
    assert "must be a port or a range" in found


@pytest.mark.parametrize("address", ["", ":50050", "host:", "host:x", "host:65536", "host"])
def test_what_is_no_address(file: Path, address: str) -> None:
    (found,) = mistakes(file, f'{LEAST}listen: "{address}"\n')
    assert "is not of the form HOST:PORT" in found


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"director\.yaml"):
        load_director_file(tmp_path / "director.yaml")


@pytest.mark.parametrize("start", ["~", "$HOME", "${HOME}"])
@pytest.mark.parametrize("key", ["state", "certificates", "experiment_ca", "revocations"])
def test_paths_may_begin_with_the_home_directory(
    file: Path, start: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    file.write_text(f'{LEAST}{key}: "{start}/federation/x"\n')
    assert getattr(load_director_file(file), key) == Path("/home/ada/federation/x")


def test_a_variable_that_nobody_replaces_is_no_folder(file: Path) -> None:
    (problem,) = mistakes(file, LEAST + "state: $DATA/state\n")
    assert problem == "3: state: the variable $DATA is not replaced here, only $HOME is; write the path out"


@pytest.mark.parametrize(
    ("host", "dialled"),
    [("::1", "::1"), ("[::1]", "::1"), ("director.example.org", "director.example.org"), ("10.0.0.1", "10.0.0.1")],
)
def test_the_host_of_aggregators_has_no_brackets(file: Path, host: str, dialled: str) -> None:
    file.write_text(f'{LEAST}listen: "[::]:0"\naggregator_host: "{host}"\n')
    assert load_director_file(file).reachable_host == dialled
    file.write_text(f'{LEAST}listen: "[::1]:0"\n')
    assert load_director_file(file).reachable_host == "::1"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("listen: localhost", "the port is missing; write localhost:50050"),
        ('listen: "::1:50050"', "an IPv6 address stands in brackets; write [::1]:50050"),
        ("listen: http://localhost:50050", "but a URL; write localhost:50050"),
        ("aggregator_host: fx.example.org:50051", "must be a host's name or address alone; write fx.example.org"),
    ],
)
def test_an_address_that_is_none_is_told_with_what_was_meant(file: Path, line: str, told: str) -> None:
    (problem,) = mistakes(file, f"{LEAST}{line}\n")
    assert problem.startswith(f"3: {line.partition(':')[0]}: ")
    assert problem.endswith(told)


def test_a_port_without_quotes_is_one(file: Path) -> None:
    file.write_text(f"{LEAST}aggregator_ports: 50051\n")
    assert load_director_file(file).ports == range(50051, 50052)
    (problem,) = mistakes(file, f"{LEAST}listen: 50050\n")
    assert problem.endswith("the host is missing; write localhost:50050")


@pytest.mark.parametrize(
    ("lines", "kind", "origin"),
    [
        ("", RefereeKind.OFF, PartOrigin.REGISTERED),
        ("referee: off\n", RefereeKind.OFF, PartOrigin.REGISTERED),
        ("referee: process\n", RefereeKind.PROCESS, PartOrigin.WORKSPACE),
    ],
)
def test_code_of_workspaces_is_refused_unless_there_is_a_referee(
    tmp_path: Path, lines: str, kind: RefereeKind, origin: PartOrigin
) -> None:
    path = tmp_path / "director.yaml"
    path.write_text(f"sample_shape: [1]\ntarget_shape: []\n{lines}")
    found = load_director_file(path)
    assert (found.referee, found.part_origin) == (kind, origin)


@pytest.mark.parametrize("line", ["referee: on", "referee_limits: {decision_s: 11}", "referee_limits: {memory_mb: 10}"])
def test_a_referee_that_cannot_be_is_a_mistake(tmp_path: Path, line: str) -> None:
    path = tmp_path / "director.yaml"
    path.write_text(f"sample_shape: [1]\ntarget_shape: []\n{line}\n")
    with pytest.raises(SettingsError, match=line.partition(":")[0]):
        load_director_file(path)


def test_a_referee_needs_a_kernel_that_confines_it() -> None:
    wanted = DirectorFile(sample_shape=(1,), target_shape=(), referee=RefereeKind.PROCESS)
    off = wanted.model_copy(update={"referee": RefereeKind.OFF})
    whole, half = Confinement(7, seccomp=True, no_new_privileges=True), Confinement(7, no_new_privileges=True)
    for settings, reached in ((wanted, whole), (off, half)):
        check_referee(settings, reached)
    with pytest.raises(SettingsError, match="does not close network, kernel"):
        check_referee(wanted, half)
