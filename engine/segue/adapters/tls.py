"""TLS of connections that are ours: contexts out of certificate files."""

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Certificates of a listener; `client_ca` demands client certificates."""

    cert: Path
    key: Path
    client_ca: Path | None = None


def listener_context(config: TlsConfig) -> ssl.SSLContext:
    """The context of a listener.

    Raises:
        OSError: a file cannot be read, or holds no certificate or key (ssl.SSLError).
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(config.cert, config.key)
    if config.client_ca is not None:
        context.load_verify_locations(config.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


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
