"""TLS of connections that are ours: contexts out of certificate files, faults in words."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Certificates of a listener; `client_ca` demands client certificates."""

    cert: Path
    key: Path
    client_ca: Path | None = None


def described(error: BaseException) -> str:
    """A fault of a connection for an operator: what is wrong with whose certificate.

    >>> described(ConnectionRefusedError(111, "Connect call failed"))
    'ConnectionRefusedError'
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the certificate of the other side: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS: {error.reason.replace('_', ' ').lower()}"
    return type(error).__name__


def listener_context(
    config: TlsConfig, refused: Callable[[str], None] | None = None
) -> ssl.SSLContext:
    """The context of a listener.

    Args:
        config: its certificates.
        refused: told in words why a peer was turned away; else nobody would hear of it.

    Raises:
        OSError: a file cannot be read, or holds no certificate or key (ssl.SSLError).
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(config.cert, config.key)
    if config.client_ca is not None:
        context.load_verify_locations(config.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if refused is not None:
        context.sslobject_class = _telling(refused)
    return context


def _telling(refused: Callable[[str], None]) -> type[ssl.SSLObject]:
    class Telling(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                refused(described(error))
                raise

    return Telling


def client_context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """The context of a client: whom it trusts, and what proves who it is.

    Args:
        ca: None trusts whom the machine trusts.

    Raises:
        OSError: a file cannot be read, or holds no certificate or key (ssl.SSLError).
    """
    context = ssl.create_default_context(cafile=ca)
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context
