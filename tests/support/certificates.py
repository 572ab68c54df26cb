"""Certificates for tests of TLS, made as they are wanted."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Callable[[str], tuple[Path, Path]]:
    """Self-signed certificates by name: (certificate, key)."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("certificates")

    def make(name: str) -> tuple[Path, Path]:
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        if not cert.exists():
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                 "-nodes", "-days", "1", "-subj", f"/CN={name}", "-addext",
                 "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
                check=True, capture_output=True, env=dict(os.environ),
            )  # fmt: skip
        return cert, key

    return make
