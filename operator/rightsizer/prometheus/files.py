"""Looks into the files that the settings name before anything is sent: what cannot be used is the setting's fault, not the server's.

They are read anew later, when a request or a connection is made; what is wrong then is trouble with the usage source.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from rightsizer.errors import InvalidSettings, UsageSourceError
from rightsizer.prometheus.endpoint import secret_of, token_of
from rightsizer.settings import Settings, named


def check_contents(settings: Settings) -> None:
    """Raises InvalidSettings, naming the setting and the file."""
    for name, file, read in (
        ("prometheus_bearer_token_file", settings.prometheus_bearer_token_file, token_of),
        ("prometheus_password_file", settings.prometheus_password_file, secret_of),
    ):
        if file is not None:
            try:
                read(file)
            except UsageSourceError as error:
                raise InvalidSettings(f"{named(name)}: {error}") from error
    if settings.prometheus_ca_file is not None:
        _check_ca(settings.prometheus_ca_file)
    if settings.prometheus_client_certificate_file is not None and settings.prometheus_client_key_file is not None:
        _check_identity(settings.prometheus_client_certificate_file, settings.prometheus_client_key_file)


def _check_ca(file: Path) -> None:
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:
        raise InvalidSettings(f"{named('prometheus_ca_file')}: {file} holds no certificates to trust (PEM): {_words(error)}") from error


def _check_identity(certificate: Path, key: Path) -> None:
    try:
        # With a password, as OpenSSL would ask for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise InvalidSettings(
            f"{named('prometheus_client_certificate_file')} and {named('prometheus_client_key_file')}: {certificate} and {key} "
            f"cannot be used (PEM, belonging together, the key not encrypted): {_words(error)}"
        ) from error


def _words(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    return reason or error.strerror or "no reason given"
