"""``fx pki``: authorities, certificates and what is in them; enrolment is in `openfl_like.cli.pki.enrolment`."""

from pathlib import Path
from typing import TypedDict, Unpack

import click

from openfl_like.cli.options import HELP, PLACE
from openfl_like.cli.output.console import emit, json_option, tell
from openfl_like.cli.pki import enrolment as pki_enrolment

_ROLES = ("director", "envoy", "aggregator", "collaborator", "user", "admin", "gateway")


@click.group(context_settings=HELP)
def pki() -> None:
    """Make, enrol, renew and revoke certificates, and look into them; found a federation's authorities.

    Example: fx pki init --federation hospitals
    """


@pki.command()
@click.option("--federation", required=True, help="Name of the federation: a-z, 0-9 and '-'.")
@click.option("--dir", "certs", type=PLACE, default=Path("certs"), show_default=True, help="Where to write.")
@json_option
def init(federation: str, certs: Path, *, as_json: bool) -> None:
    """Found the three authorities: root, site CA and experiment CA.

    Take root/ca.key offline afterwards: it is needed only to replace one of the other two.

    Example: fx pki init --federation hospitals --dir certs
    """
    from openfl_like.pki.authority import create_authorities

    create_authorities(certs, federation)
    told = {"federation": federation, "directory": str(certs), "offline": str(certs / "root" / "ca.key")}
    tell(f"founded the federation '{federation}' in {certs}; now take {told['offline']} offline", told, as_json=as_json)


class _IssueOptions(TypedDict):
    certs: Path
    hosts: tuple[str, ...]
    days: int | None
    experiment: str
    out: Path | None
    replace: bool
    as_json: bool


@pki.command()
@click.argument("role", metavar="ROLE", type=click.Choice(_ROLES))
@click.argument("name")
@click.option(
    "--dir",
    "certs",
    type=PLACE,
    default=Path("certs"),
    show_default=True,
    help="Where the authorities are.",
)
@click.option("--host", "hosts", multiple=True, help="DNS name or address of a server; may be given again.")
@click.option(
    "--days", type=click.IntRange(1, 3650), help="Lifetime; default: 365, for aggregator and collaborator 30."
)
@click.option("--experiment", default="", help="Experiment of a collaborator; an aggregator is named after its own.")
@click.option("--out", type=PLACE, help="Where to write; default: DIR/ROLE/NAME.")
@click.option("--replace", is_flag=True, help="Replace the files that are there, for example to renew.")
@json_option
def issue(role: str, name: str, **options: Unpack[_IssueOptions]) -> None:
    """Make a key and a certificate, in a folder with all that its holder needs.

    ROLE is director, envoy, aggregator, collaborator, user, admin or gateway.

    Example: fx pki issue director central --host director.example.org
    """
    from datetime import timedelta

    from openfl_like.pki.administration import default_lifetime, federation_of, issue_credentials
    from openfl_like.pki.certificate import AuthorityKind, issuer_of
    from openfl_like.pki.files import credentials_dir, save_credentials
    from openfl_like.pki.ledger import Ledger
    from openfl_like.pki.roles import Identity, Role

    certs, kind, days = options["certs"], Role(role), options["days"]
    experiment = options["experiment"] or (name if kind is Role.AGGREGATOR else "")
    identity = Identity(federation_of(certs), kind, name, experiment)
    lifetime = default_lifetime(kind) if days is None else timedelta(days=days)
    credentials = issue_credentials(certs, identity, lifetime=lifetime, hosts=options["hosts"])
    directory = options["out"] or credentials_dir(certs, identity)
    save_credentials(directory, credentials, replace=options["replace"])
    if issuer_of(kind) is AuthorityKind.SITE:
        ledger = Ledger(certs / AuthorityKind.SITE.value)
        ledger.record(credentials.chain, by="issue", hosts=options["hosts"], lifetime=lifetime)
    told = {"identity": identity.uri, "directory": str(directory)}
    tell(f"issued {identity.uri} into {directory}", told, as_json=options["as_json"])


@pki.command()
@click.argument("path", type=PLACE)
@json_option
def inspect(path: Path, *, as_json: bool) -> None:
    """Say what is in a certificate: a file, or the folder of a holder or an authority.

    Example: fx pki inspect certs/envoy/cleveland
    """
    from openfl_like.pki.certificate import describe
    from openfl_like.pki.files import CERTIFICATE_FILE, read_file

    if path.is_dir():
        path /= CERTIFICATE_FILE if (path / CERTIFICATE_FILE).exists() else "ca.crt"
    found = describe(read_file(path), str(path))
    value = {
        "identity": ", ".join(found.identity),
        "role": found.role,
        "issuer": found.issuer,
        "not_before": found.not_before.isoformat(),
        "not_after": found.not_after.isoformat(),
        "names": list(found.names) if as_json else ", ".join(found.names),
        "usages": list(found.usages) if as_json else ", ".join(found.usages),
        "serial": found.serial,
    }
    emit(value, as_json=as_json, title=str(path))


for _command in pki_enrolment.COMMANDS:
    pki.add_command(_command)
