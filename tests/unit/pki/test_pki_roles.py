import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.errors import NotAllowedError, UnauthenticatedError, UsageError
from openfl_like.pki.roles import EXPERIMENT_ROLES, RPC_ROLES, SERVER_ROLES, Identity, Role, authorise

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)
FEDERATIONS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)


def identity_of(role: Role, name: str = "one") -> Identity:
    if role is Role.AGGREGATOR:
        return Identity.aggregator("hospitals", name)
    return Identity("hospitals", role, name, "digits" if role is Role.COLLABORATOR else "")


@given(st.sampled_from(Role), FEDERATIONS, NAMES, NAMES)
def test_parse_reads_what_uri_writes(role: Role, federation: str, name: str, experiment: str) -> None:
    if role is Role.AGGREGATOR:
        identity = Identity.aggregator(federation, experiment)
    else:
        identity = Identity(federation, role, name, experiment if role is Role.COLLABORATOR else "")
    assert Identity.parse(identity.uri) == identity


@given(st.text())
def test_parse_accepts_nothing_else(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        Identity.parse(text)


@pytest.mark.parametrize(
    "uri",
    [
        "fx://hospitals/envoy",
        "fx://hospitals/envoy/",
        "fx://hospitals/envoy/one/",
        "fx://hospitals/envoy/one/two",
        "fx://hospitals/envoy/one?x",
        "fx://hospitals/envoy/One",
        "fx://hospitals/Envoy/one",
        "fx://hospitals/root",
        "fx://hospitals/root/one",
        "fx://hos_pitals/envoy/one",
        "fx://hospitals/collaborator/one",
        "fx://hospitals/collaborator/digits/one/x",
        "fx://hospitals/aggregator/digits/digits",
        "fx:///envoy/one",
        "fx:/x/hospitals/envoy/one",
        "https://hospitals/envoy/one",
        " fx://hospitals/envoy/one",
        "fx://hospitals/envoy/one\n",
        "fx://hospitals/envoy/../one",
        "fx://hospitals/envoy/" + "a" * 64,
    ],
)
def test_parse_refuses_near_misses(uri: str) -> None:
    with pytest.raises(UnauthenticatedError):
        Identity.parse(uri)


def test_uris_and_server_names_have_the_documented_form() -> None:
    assert Identity("hospitals", Role.ENVOY, "cleveland").uri == "fx://hospitals/envoy/cleveland"
    assert Identity("hospitals", Role.COLLABORATOR, "one", "digits").uri == "fx://hospitals/collaborator/digits/one"
    assert Identity.aggregator("hospitals", "digits").uri == "fx://hospitals/aggregator/digits"
    assert Identity.aggregator("hospitals", "digits").server_name == "digits.aggregator.hospitals.fx"
    assert Identity("hospitals", Role.DIRECTOR, "central").server_name == "director.hospitals.fx"
    assert Identity("hospitals", Role.GATEWAY, "web").server_name == "gateway.hospitals.fx"


@pytest.mark.parametrize("role", sorted(set(Role) - SERVER_ROLES))
def test_a_client_role_has_no_server_name(role: Role) -> None:
    with pytest.raises(UsageError):
        _ = identity_of(role).server_name


@pytest.mark.parametrize("role", sorted(set(Role) - EXPERIMENT_ROLES))
def test_site_roles_belong_to_no_experiment(role: Role) -> None:
    with pytest.raises(UsageError, match="no experiment"):
        Identity("hospitals", role, "one", "digits")


@pytest.mark.parametrize("role", sorted(EXPERIMENT_ROLES))
def test_experiment_roles_need_one(role: Role) -> None:
    with pytest.raises(UsageError, match="belongs to an experiment"):
        Identity("hospitals", role, "one")


def test_an_aggregator_is_named_after_its_experiment() -> None:
    with pytest.raises(UsageError, match="named after"):
        Identity("hospitals", Role.AGGREGATOR, "one", "digits")


@pytest.mark.parametrize("method", sorted(RPC_ROLES))
@pytest.mark.parametrize("role", list(Role))
def test_authorise_is_the_table(method: str, role: Role) -> None:
    if role in RPC_ROLES[method]:
        authorise(method, identity_of(role))
    else:
        with pytest.raises(NotAllowedError, match=role.value):
            authorise(method, identity_of(role))


@pytest.mark.parametrize(
    "method", ["", "Attend", "/openfl_like.v1.Attendance/attend", "/openfl_like.v1.Director/Nothing"]
)
@pytest.mark.parametrize("role", list(Role))
def test_authorise_denies_what_is_not_in_the_table(method: str, role: Role) -> None:
    with pytest.raises(NotAllowedError):
        authorise(method, identity_of(role))


def test_nobody_outside_an_experiment_may_send_updates() -> None:
    assert RPC_ROLES["/openfl_like.v1.Aggregator/Upload"] == {Role.COLLABORATOR}
    assert (
        Role.GATEWAY
        not in RPC_ROLES["/openfl_like.v1.Experiments/Submit"] | RPC_ROLES["/openfl_like.v1.Experiments/Cancel"]
    )
