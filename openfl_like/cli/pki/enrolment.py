"""``fx pki`` for those who are apart from the authority: tokens, its server, enrolment, renewal, revocation."""

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from openfl_like.cli.options import FILE, FOLDER, WrittenAddress, check_output
from openfl_like.cli.output.console import clock, emit, emit_line, json_option, say, tell

if TYPE_CHECKING:
    from openfl_like.pki.ledger import Ledger

SITE_ROLES = ("director", "envoy", "user", "admin", "gateway")
DEFAULT_OFFICE = "localhost:50049"
LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Hosts that mean another machine on every machine."""
_MOST_MAIL = 10_000
OFFICE = WrittenAddress(port=50049)
DEFAULT_DAYS = 30.0
certs_option = click.option(
    "--dir", "certs", type=FOLDER, default=Path("certs"), show_default=True, help="Where the authorities are."
)


class _TokenOptions(TypedDict):
    role: str
    hosts: tuple[str, ...]
    server: str
    days: float
    hours: float
    output: Path | None
    certs: Path
    as_json: bool


def _check_new(output: Path | None) -> None:
    """Refuse a file that is there before a token is made for it: it may hold one that nobody has used yet."""
    from openfl_like.errors import UsageError

    check_output(output)
    if output is not None and output.exists():
        raise UsageError("the file is there already", place=str(output), cure="name another one, or delete it")


@click.command()
@click.argument("name")
@click.option("--role", type=click.Choice(SITE_ROLES), default="envoy", show_default=True, help="What it will be.")
@click.option("--host", "hosts", multiple=True, help="DNS name or address of a server; may be given again.")
@click.option(
    "--server",
    default=DEFAULT_OFFICE,
    show_default=True,
    envvar="FX_ENROLMENT",
    type=OFFICE,
    help="HOST:PORT of fx pki serve.",
)
@click.option(
    "--days",
    type=click.FloatRange(0, 3650, min_open=True),
    default=DEFAULT_DAYS,
    show_default=True,
    help="Lifetime of the certificate and of those that renew it.",
)
@click.option(
    "--hours",
    type=click.FloatRange(0, 24, min_open=True),
    default=24.0,
    show_default=True,
    help="Until it must be used.",
)
@click.option("-o", "--output", type=FILE, help="Write it here, for your eyes only; what is there stays.")
@certs_option
@json_option
def token(name: str, **options: Unpack[_TokenOptions]) -> None:
    """Make a token with which somebody else has a certificate made, once.

    Hand it over as you would a password; whoever has it first becomes NAME.

    Example: fx pki token cleveland --role envoy --server ca.example.org:50049 -o cleveland.token
    """
    from datetime import UTC, datetime, timedelta

    from openfl_like.pki.administration import federation_of, make_token
    from openfl_like.pki.files import write_new
    from openfl_like.pki.roles import Identity, Role

    certs, hosts, server, output = options["certs"], options["hosts"], options["server"], options["output"]
    _check_new(output)
    identity, now = Identity(federation_of(certs), Role(options["role"]), name), datetime.now(UTC)
    lifetime, good_for = timedelta(days=options["days"]), timedelta(hours=options["hours"])
    made = make_token(certs, identity, server, hosts=hosts, lifetime=lifetime, good_for=good_for)
    expires = now + good_for
    where = {"token": made.text} if output is None else {"file": str(output)}
    told = {**where, "identity": identity.uri, "server": server, "expires": expires.isoformat()}
    if output is not None:
        write_new(output, f"{made.text}\n".encode(), private=True)
    elif not options["as_json"]:
        click.echo(made.text)
    text = f"good once, until {expires.isoformat()[:16]} UTC, for {identity.uri}; there: fx pki enroll TOKEN"
    tell(text, told, as_json=options["as_json"])
    if server.rpartition(":")[0] in LOCAL:
        say(f"it leads to {server}, which is only this machine; for others name the authority: --server HOST:PORT")


@click.command()
@click.option(
    "--listen",
    default=DEFAULT_OFFICE,
    show_default=True,
    type=WrittenAddress(0, 50049),
    help="HOST:PORT; 0.0.0.0:50049 for all addresses.",
)
@certs_option
@click.option("--with-parent", is_flag=True, hidden=True, help="End when standard input is closed.")
@json_option
def serve(listen: str, certs: Path, *, with_parent: bool, as_json: bool) -> None:
    """Certify whoever shows a token or a valid certificate; runs until it is sent SIGTERM or Ctrl-C.

    It needs the key of the site CA and runs where that is, never on the Director's machine.

    Example: fx pki serve --listen 0.0.0.0:50049
    """
    import asyncio

    from openfl_like.services.daemon.run import live
    from openfl_like.services.identity.enrolment_server import run_enrolment_server

    def ready(address: str) -> None:
        if as_json:
            emit_line({"kind": "listening", "address": address})
        else:
            say(f"the authority listens on {address}")

    asyncio.run(live(run_enrolment_server(certs, listen, ready), parent=with_parent))


@click.command()
@click.argument("words", metavar="TOKEN")
@click.option("--out", type=FOLDER, help="Where to write.  [default: certs/ROLE/NAME]")
@json_option
def enroll(words: str, out: Path | None, *, as_json: bool) -> None:
    """Make a key here and have it certified; the key never leaves this machine.

    TOKEN is what 'fx pki token' printed; '-' reads it from standard input, so that it is in no list of processes.

    Example: fx pki enroll fx1/hospitals/envoy/cleveland/ca.example.org:50049/kX3…
    """
    import asyncio

    from openfl_like.pki.files import credentials_dir, save_credentials
    from openfl_like.pki.token import Token
    from openfl_like.services.identity.enrolment_client import enrol, prepare_folder

    given = Token.parse(_from_stdin() if words == "-" else words)
    directory = out or credentials_dir(Path("certs"), given.identity)
    prepare_folder(directory)
    credentials = asyncio.run(enrol(given))
    save_credentials(directory, credentials)
    told = {"identity": credentials.identity.uri, "directory": str(directory)}
    tell(f"enrolled as {credentials.identity.uri}; certificate and key are in {directory}", told, as_json=as_json)


def _from_stdin() -> str:
    """Read a token: one line that somebody types or pastes, or all of a file or pipe, where it may be wrapped."""
    import sys

    return sys.stdin.readline() if sys.stdin.isatty() else sys.stdin.read(_MOST_MAIL)


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--server", type=OFFICE, help="HOST:PORT of fx pki serve.  [default: the one that it was enrolled with]")
@json_option
def renew(folder: Path, server: str | None, *, as_json: bool) -> None:
    """Make a new key in a holder's folder and have it certified, by the present certificate.

    A running Director or Envoy does this by itself, half-way through its certificate's life.

    Example: fx pki renew certs/user/ada
    """
    import asyncio

    from openfl_like.pki.files import load_credentials, save_credentials
    from openfl_like.pki.token import check_address
    from openfl_like.services.identity.enrolment_client import renew as renew_with

    credentials = load_credentials(folder)
    fresh = asyncio.run(renew_with(credentials, check_address(server) if server else ""))
    save_credentials(folder, fresh, replace=True)
    told = {"identity": fresh.identity.uri, "directory": str(folder)}
    tell(f"renewed {fresh.identity.uri} in {folder}", told, as_json=as_json)


@click.command()
@click.argument("name")
@click.option("--role", type=click.Choice(SITE_ROLES), help="Needed if there are several, or none in the records.")
@click.option("--reason", default="", help="Why; stands in the list.")
@certs_option
@json_option
def revoke(name: str, role: str | None, reason: str, certs: Path, *, as_json: bool) -> None:
    """Revoke all certificates that NAME has; a site's Collaborators fall with it, within ten seconds.

    Whoever is to come back gets a new token.

    Example: fx pki revoke cleveland --reason "laptop stolen"
    """
    from datetime import UTC, datetime

    from openfl_like.errors import UsageError
    from openfl_like.pki.administration import federation_of
    from openfl_like.pki.administration import revoke as revoke_all
    from openfl_like.pki.certificate import AuthorityKind
    from openfl_like.pki.ledger import Ledger
    from openfl_like.pki.roles import Identity, Role

    ledger = Ledger(certs / AuthorityKind.SITE.value)
    found = ledger.find(name, role or "")
    if not found and role is not None:
        found = [Identity(federation_of(certs), Role(role), name)]
    if len(found) != 1:
        known = ", ".join(identity.role.value for identity in found) or "none"
        raise UsageError(f"which certificate of '{name}'? roles in the records: {known}", cure="name it with --role")
    newest = revoke_all(certs, found[0], reason, datetime.now(UTC))
    deaf = [] if found[0].role is Role.DIRECTOR else _directors_that_do_not_ask(ledger)
    told = {"identity": found[0].uri, "number": newest.number, "list": str(ledger.revocations), "not_asking": deaf}
    text = f"revoked {found[0].uri}; list number {newest.number} is {ledger.revocations}"
    if deaf:
        text += (
            f"\nNOTE: {', '.join(deaf)} was not enrolled by token and does not ask for the list. If it works "
            f"with the authorities of this very folder, it has it within ten seconds; if not, bring the file to it, "
            f"to where 'revocations' in its director.yaml says. 'fx status' warns while it has no source."
        )
    tell(text, told, as_json=as_json)


def _directors_that_do_not_ask(ledger: "Ledger") -> list[str]:
    """Name the Directors whose newest certificate was not enrolled by token: they know no server to ask."""
    from openfl_like.pki.roles import Identity, Role

    newest = {issued.uri: issued.by for issued in sorted(ledger.issued(), key=lambda issued: issued.not_before)}
    directors = {uri: by for uri, by in newest.items() if Identity.parse(uri).role is Role.DIRECTOR}
    return sorted(uri for uri, by in directors.items() if by == "issue")


@click.command(name="list")
@certs_option
@json_option
def list_(certs: Path, *, as_json: bool) -> None:
    """List what the site CA has issued, and the tokens that were not used.

    Example: fx pki list
    """
    from openfl_like.pki.certificate import AuthorityKind
    from openfl_like.pki.ledger import Ledger

    rows = _rows(Ledger(certs / AuthorityKind.SITE.value), certs)
    shown = rows if as_json else [{**row, "ends": _clock(str(row["ends"]))} for row in rows]
    emit(shown, as_json=as_json, title="certificates and tokens")


def _clock(moment: str) -> str:
    """Return a time of the records, ISO 8601, as people read it."""
    from datetime import datetime

    return clock(datetime.fromisoformat(moment).timestamp())


def _rows(ledger: "Ledger", certs: Path) -> list[dict[str, object]]:
    from datetime import UTC, datetime

    from openfl_like.pki.administration import published
    from openfl_like.pki.authority import load_trust
    from openfl_like.pki.revocation import Revocations

    now, names = datetime.now(UTC), Revocations()
    revoked = published(certs, load_trust(certs).site_ca)
    names.take(revoked)
    serials = {serial for entry in revoked.entries for serial in entry.serials}
    rows: list[dict[str, object]] = []
    for issued in ledger.issued():
        valid = "expired" if datetime.fromisoformat(issued.not_after) < now else "valid"
        state = "revoked" if issued.serial in serials else valid
        rows.append(
            {"identity": issued.uri, "state": state, "ends": issued.not_after, "serial": issued.serial, "by": issued.by}
        )
    for offer in ledger.offers():
        over = "token over" if datetime.fromisoformat(offer.expires) < now else "token open"
        state = "token revoked" if names.falls(offer.uri, offer.under) else over
        rows.append({"identity": offer.uri, "state": state, "ends": offer.expires, "serial": "", "by": ""})
    return rows


COMMANDS = (token, serve, enroll, renew, revoke, list_)
