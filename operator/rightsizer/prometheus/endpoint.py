"""Where the Prometheus API is and how to get in, as one frozen value with every default; checked when it is made.

It names files with secrets and does not read them before a request is made. `headers` may hold secrets and are never shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth

from rightsizer.errors import InvalidSettings, UsageSourceError
from rightsizer.settings import named

DEFAULT_MAX_ANSWER_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The Prometheus API and the limits of talking to it.

    `url`: up to, not including, `/api/v1`. `timeout_seconds`: for one question, retries included. `retries`: further tries after trouble
    with the connection or an answer that says "later" (429, 502, 503). `headers`: sent with each request (`X-Scope-OrgID`).
    `bearer_token_file`, or `username` with `password_file`: read anew for each request, so that a secret may be rotated.
    `ca_file`: certificates to trust instead of the system's. `client_certificate_file` with `client_key_file` (PEM, the key not encrypted):
    who we are in TLS, read anew for each connection that is made. `verify` False trusts every certificate.
    `max_answer_bytes`: a longer answer is not read to its end.

    Raises InvalidSettings.
    """

    url: str
    timeout_seconds: float = 30.0
    retries: int = 2
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    bearer_token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    client_certificate_file: Path | None = None
    client_key_file: Path | None = None
    verify: bool = True
    max_answer_bytes: int = DEFAULT_MAX_ANSWER_BYTES

    def __post_init__(self) -> None:
        _check_url(self.url)
        if self.timeout_seconds <= 0:
            raise InvalidSettings(f"Prometheus time limit: {self.timeout_seconds} s is not above 0")
        if (self.username is None) != (self.password_file is None):
            raise InvalidSettings("Prometheus username and password file: one is of no use without the other")
        if self.username is not None and self.bearer_token_file is not None:
            raise InvalidSettings("Prometheus: either a username or a bearer token file, not both")
        if (self.client_certificate_file is None) != (self.client_key_file is None):
            raise InvalidSettings("Prometheus client certificate and key file: one is of no use without the other")

    @property
    def identity(self) -> tuple[str, str] | None:
        """The files with our certificate and its key; None where there are none."""
        if self.client_certificate_file is None or self.client_key_file is None:
            return None
        return str(self.client_certificate_file), str(self.client_key_file)

    @property
    def trust(self) -> bool | str:
        """What the client is told about certificates: a file with those to trust, or whether to check at all."""
        return str(self.ca_file) if self.verify and self.ca_file is not None else self.verify


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidSettings(f"{named('prometheus_url')}: {error}") from error
    if "@" in parts.netloc:
        raise InvalidSettings(f"{named('prometheus_url')}: it must not hold a password; name a username and a password file")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSettings(f"{named('prometheus_url')}: {url!r} must begin with http:// or https:// and name a host")
    if parts.query or parts.fragment:
        raise InvalidSettings(f"{named('prometheus_url')}: it ends before what begins with ? or #, and before /api/v1")


class Authentication(AuthBase):
    """Puts the secret of the endpoint on each request; none where none is named, also none from a `.netrc`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Raises UsageSourceError when the file with the secret cannot be read, or is empty."""
        endpoint = self._endpoint
        if endpoint.bearer_token_file is not None:
            request.headers["Authorization"] = f"Bearer {token_of(endpoint.bearer_token_file)}"
        elif endpoint.username is not None and endpoint.password_file is not None:
            HTTPBasicAuth(endpoint.username.encode(), secret_of(endpoint.password_file).encode())(request)
        return request


def token_of(file: Path) -> str:
    """Raises UsageSourceError where the file holds no token."""
    token = secret_of(file)
    # Checked here, as the HTTP library would put the token into its error.
    if not (token.isascii() and token.isprintable()):
        raise UsageSourceError(f"the file with the secret for Prometheus holds no token of one line: {file}")
    return token


def secret_of(file: Path) -> str:
    """Raises UsageSourceError where the file cannot be read or holds nothing."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageSourceError(f"the file with the secret for Prometheus cannot be read: {error}") from error
    if not secret:
        raise UsageSourceError(f"the file with the secret for Prometheus is empty: {file}")
    return secret
