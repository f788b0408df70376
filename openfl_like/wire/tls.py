"""TLS contexts for sockets of our own: version 1.3 and a certificate on both sides, as on every gRPC link."""

import ssl
import tempfile

from openfl_like.pki.files import Credentials


def server_context(credentials: Credentials) -> ssl.SSLContext:
    """Gives what a server accepts connections with: clients show a certificate of the federation."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, credentials)
    context.num_tickets = 0  # a resumed session would not show the certificate again
    return context


def client_context(credentials: Credentials) -> ssl.SSLContext:
    """Gives what a client connects with: the server's certificate must carry the name that is asked for."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, credentials)


def _context(protocol: int, credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=credentials.trust.root.decode("ascii"))
    with tempfile.TemporaryFile() as file:  # the interface takes only files; this one has no name
        file.write(credentials.chain + credentials.key)
        file.seek(0)
        file.flush()
        context.load_cert_chain(f"/dev/fd/{file.fileno()}")
    return context


def peer_pem(connection: ssl.SSLSocket) -> bytes:
    """Gives the certificate that the peer showed, PEM; empty if it showed none."""
    found = connection.getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(found).encode("ascii") if found else b""
