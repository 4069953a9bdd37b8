"""Keys, tokens and kubeconfig files of a testbed, made with the standard library alone: a fresh machine may lack OpenSSL.

Fit for a control plane that lives for minutes on the loopback address, for nothing else.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class User:
    """Someone whom the API server knows by a static token."""

    name: str
    token: str
    group: str

    @classmethod
    def with_new_token(cls, name: str, *, group: str = "system:masters") -> User:
        return cls(name, secrets.token_hex(16), group)


def token_file(users: list[User]) -> str:
    """The text for kube-apiserver's --token-auth-file."""
    return "".join(f'{user.token},{user.name},{user.name},"{user.group}"\n' for user in users)


def signing_key() -> str:
    """A new P-256 private key as PEM, to sign tokens of service accounts with.

    RFC 5915 lets the public key be left out, and the API server computes it, so that random bytes are all it takes. The first
    byte keeps the number above zero and below the order of the curve.
    """
    number = bytes([1 + secrets.randbelow(0x7F)]) + secrets.token_bytes(31)
    curve = bytes.fromhex("a00a06082a8648ce3d030107")  # [0] OID prime256v1
    body = bytes.fromhex("020101") + bytes([0x04, len(number)]) + number + curve
    text = base64.encodebytes(bytes([0x30, len(body)]) + body).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{text}-----END EC PRIVATE KEY-----\n"


def kubeconfig(*, api_url: str, ca_file: Path, user: str, token: str, namespace: str = "default") -> str:
    """The text of a kubeconfig (JSON, which is YAML too) for one user of one cluster."""
    context = {"cluster": "testbed", "user": user, "namespace": namespace}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": {"server": api_url, "certificate-authority": str(ca_file)}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "testbed", "context": context}],
            "current-context": "testbed",
        },
        indent=2,
    )
