"""The site CA's server: it certifies who shows a token or a valid certificate, and gives out the revocation list.

It holds the site CA's key and runs where that is, never on a Director. Of a request only the public key counts.
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openfl_like.errors import CredentialError, NotAllowedError, UnauthenticatedError, UsageError
from openfl_like.pki.administration import SITE_LIFETIME, check_not_revoked, published
from openfl_like.pki.authority import Authority, check_request, load_trust
from openfl_like.pki.certificate import AuthorityKind
from openfl_like.pki.files import Trust
from openfl_like.pki.ledger import Ledger
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.revocation import RevocationList
from openfl_like.pki.roles import EXPERIMENT_ROLES, Identity
from openfl_like.pki.token import secret_digest
from openfl_like.services.daemon.liveness import LivenessFile
from openfl_like.tasks import background
from openfl_like.wire.enrolment import EnrolmentServer, Question
from openfl_like.wire.tls import load_chain, office_context

log = logging.getLogger(__name__)
SERVING_REFRESH_S = 24 * 3600.0
WINDOW_S = 60.0
MOST_FAILURES = 10
REMEMBERED = 4096


@dataclass(slots=True)
class Throttle:
    """Counts failures of the last minute.

    Args:
        clock: Monotonic seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _failures: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def check(self, host: str) -> None:
        """Let a host try; raises NotAllowedError if it has failed too often."""
        failures = self._failures.get(host)
        if failures is None:
            return
        while failures and failures[0] <= self.clock() - WINDOW_S:
            failures.popleft()
        if len(failures) >= MOST_FAILURES:
            raise NotAllowedError(
                f"there were {MOST_FAILURES} failed tries from this address within a minute", cure="wait a minute"
            )

    def failed(self, host: str) -> None:
        """Take down a failure."""
        self._failures.setdefault(host, deque(maxlen=MOST_FAILURES)).append(self.clock())
        self._failures.move_to_end(host)
        if len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a certificate is to say.

    Attributes:
        identity: Whom it is for.
        hosts: DNS names and addresses, for server roles.
        lifetime: How long it is valid.
        under: Number of the revocation list that was looked at before: a later revocation of this identity, made while
            the certificate is, holds for it, too.
    """

    identity: Identity
    hosts: tuple[str, ...]
    lifetime: timedelta
    under: int


@dataclass(slots=True)
class EnrolmentService:
    """Answers questions.

    Args:
        certs: Where the authorities are; the keys of root and experiment CA are not needed.
    """

    certs: Path
    authority: Authority = field(init=False)
    _trust: Trust = field(init=False)
    _ledger: Ledger = field(init=False)
    _verifier: PeerVerifier = field(init=False)
    _throttle: Throttle = field(default_factory=Throttle)

    def __post_init__(self) -> None:
        folder = self.certs / AuthorityKind.SITE.value
        self.authority = Authority.load(folder)
        self._trust = load_trust(self.certs)
        self._ledger = Ledger(folder)
        self._ledger.prepare()
        self._verifier = PeerVerifier(self._trust)

    async def answer(self, question: Question) -> Mapping[str, str]:
        """Answer a question.

        Raises:
            NotAllowedError: If the token is not good, the asker has failed too often, or may not ask this.
            UnauthenticatedError: If a certificate is needed and none was shown.
            RevokedError: If it was revoked.
            CredentialError: If the request cannot be certified.
            UsageError: If there is no such question.
        """
        work: dict[str, Callable[[Question], Mapping[str, str]]] = {
            "authority": self._introduce,
            "enrol": self._enrol,
            "renew": self._renew,
            "revocations": self._revocations,
        }
        if not question.certificate:
            self._throttle.check(question.host)
        try:
            return await asyncio.to_thread(work.get(question.fields.get("ask", ""), self._puzzled), question)
        except (NotAllowedError, UnauthenticatedError, CredentialError, UsageError):
            self._throttle.failed(question.host)
            raise

    def _puzzled(self, _: Question) -> Mapping[str, str]:
        raise UsageError("the authority does not know this question", cure="compare the versions of both sides")

    def _introduce(self, _: Question) -> Mapping[str, str]:
        return {"site_ca": self._trust.site_ca.decode("ascii")}

    def _enrol(self, question: Question) -> Mapping[str, str]:
        """Use the token up, on disk, and only then sign: whatever is killed, there is one certificate at most."""
        request = question.fields.get("csr", "").encode("utf-8")
        self._check_key(request)
        offer = self._ledger.burn(secret_digest(question.fields.get("secret", "")), datetime.now(UTC))
        revoked = [entry.number for entry in self._published().entries if entry.uri == offer.uri]
        if max(revoked, default=0) > offer.under:
            raise NotAllowedError(
                f"the token was made before {offer.uri} was revoked",
                cure="ask the administrator of the authority for a new one",
            )
        asked = Asked(Identity.parse(offer.uri), offer.hosts, timedelta(seconds=offer.lifetime_s), offer.under)
        return self._certify(asked, request, by="token")

    def _renew(self, question: Question) -> Mapping[str, str]:
        identity, number = self._member(question)
        if identity.role in EXPERIMENT_ROLES:
            raise NotAllowedError(f"{identity.uri} belongs to an experiment: its Director certifies it")
        request = question.fields.get("csr", "").encode("utf-8")
        self._check_key(request)
        serial = self._verifier.serial(question.certificate)
        known = self._ledger.issued(serial)
        hosts = known[0].hosts if known else ()
        lifetime = timedelta(seconds=known[0].lifetime_s) if known else SITE_LIFETIME
        return self._certify(Asked(identity, hosts, lifetime, number), request, by="renewal")

    def _revocations(self, question: Question) -> Mapping[str, str]:
        self._member(question)
        found = self._published()
        if str(found.number) == question.fields.get("known", ""):
            return {"number": str(found.number)}
        return {"number": str(found.number), "list": self._ledger.revocations.read_text(encoding="utf-8")}

    def _published(self) -> RevocationList:
        return published(self.certs, self._trust.site_ca)

    def _member(self, question: Question) -> tuple[Identity, int]:
        """Return who asks, and the number of the list on which that is not."""
        if not question.certificate:
            raise UnauthenticatedError("no certificate was shown", cure="enrol first: fx pki enroll TOKEN")
        identity = self._verifier.identify(question.certificate, datetime.now(UTC))
        found = self._published()
        check_not_revoked(found, question.certificate)
        return identity, found.number

    def _check_key(self, request: bytes) -> None:
        """Refuse a request that cannot be used, or whose key was certified before."""
        digest = check_request(request)
        revoked = {key for entry in self._published().entries for key in entry.keys}
        if digest in revoked or any(issued.key == digest for issued in self._ledger.issued()):
            raise CredentialError("this key was certified before", cure="make a new one: 'fx pki enroll' does")

    def _certify(self, asked: Asked, request: bytes, *, by: str) -> Mapping[str, str]:
        authority, now = self.authority.under(asked.under), datetime.now(UTC)
        chain = authority.issue(asked.identity, request, lifetime=asked.lifetime, now=now, hosts=asked.hosts)
        issued = self._ledger.record(chain, by=by, hosts=asked.hosts, lifetime=asked.lifetime)
        log.info("certified %s until %s (%s, serial %s)", issued.uri, issued.not_after, by, issued.serial)
        trust = self._trust
        return {
            "chain": chain.decode("ascii"),
            "root": trust.root.decode("ascii"),
            "site_ca": trust.site_ca.decode("ascii"),
            "experiment_ca": trust.experiment_ca.decode("ascii"),
        }


async def run_enrolment_server(certs: Path, listen: str, ready: Callable[[str], None]) -> None:
    """Run the site CA's server until cancelled.

    Args:
        certs: Where the authorities are.
        listen: ``host:port``.
        ready: Called with the address when it listens.

    Raises:
        CredentialError: If the site CA's files are missing or unusable.
        ConflictError: If the address is taken.
    """
    office = EnrolmentService(certs)
    context = office_context(load_trust(certs).root)
    load_chain(context, *office.authority.serving(datetime.now(UTC)))
    pulse = LivenessFile(certs, "authority")
    async with EnrolmentServer(listen, context, office.answer) as server, background(pulse.beat()):
        ready(f"{listen.rpartition(':')[0]}:{server.port}")
        while True:
            await asyncio.sleep(SERVING_REFRESH_S)
            try:
                load_chain(context, *office.authority.serving(datetime.now(UTC)))
            except OSError as error:  # no room for a temporary file; the certificate holds for some days more
                log.warning("the server's own certificate could not be renewed today: %s", error)
