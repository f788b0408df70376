"""TLS contexts for sockets of our own: version 1.3 and a certificate on both sides, as on every gRPC link."""

import ssl
import tempfile

from openfl_like.pki.files import Credentials


def server_context(credentials: Credentials) -> ssl.SSLContext:
    """Return what a server accepts connections with: clients show a certificate of the federation."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, credentials)
    context.num_tickets = 0  # a resumed session would not show the certificate again
    return context


def client_context(credentials: Credentials) -> ssl.SSLContext:
    """Return what a client connects with: the server's certificate must carry the name that is asked for."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, credentials)


def stranger_context() -> ssl.SSLContext:
    """Return what a stranger connects with, who is told what anybody may know; it verifies nothing."""
    context = _bare(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def pinned_context(authority: bytes, credentials: Credentials | None = None) -> ssl.SSLContext:
    """Return what a client connects with to a server that this very authority must have certified, none above or below.

    Args:
        authority: Certificate of the authority, PEM.
        credentials: What the client shows; None: nothing.
    """
    context = _bare(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=authority.decode("ascii"))
    if credentials is not None:
        load_chain(context, credentials.chain, credentials.key)
    return context


def office_context(root: bytes) -> ssl.SSLContext:
    """Return what the authority's server accepts connections with: clients may show a certificate, or none yet.

    Args:
        root: Certificate of the root, PEM.
    """
    context = _bare(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.num_tickets = 0  # as above
    context.load_verify_locations(cadata=root.decode("ascii"))
    return context


def load_chain(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """Give a context a certificate with its key; connections that are open keep the former one."""
    with tempfile.TemporaryFile() as file:  # the interface takes only files; this one has no name
        file.write(chain + key)
        file.seek(0)
        file.flush()
        context.load_cert_chain(f"/dev/fd/{file.fileno()}")


def _bare(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _context(protocol: int, credentials: Credentials) -> ssl.SSLContext:
    context = _bare(protocol)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=credentials.trust.root.decode("ascii"))
    load_chain(context, credentials.chain, credentials.key)
    return context


def peer_pem(connection: ssl.SSLSocket | ssl.SSLObject) -> bytes:
    """Return the certificate that the peer showed, PEM; empty if it showed none."""
    found = connection.getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(found).encode("ascii") if found else b""
