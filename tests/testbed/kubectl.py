"""kubectl as a person would call it, with a kubeconfig and caches that belong to one testbed."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testbed.errors import KubectlError

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Calls one kubectl binary with one kubeconfig."""

    binary: Path
    kubeconfig: Path
    cache: Path

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl printed; raises KubectlError when it failed."""
        done = subprocess.run(
            [self.binary, f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.cache}", *arguments],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise KubectlError(arguments=arguments, exit_code=done.returncode, stderr=done.stderr)
        return done.stdout

    def apply(self, *manifests: Manifest | str) -> str:
        """Applies all manifests in one call, in their order; a text may hold several YAML documents."""
        documents = [manifest if isinstance(manifest, str) else json.dumps(manifest) for manifest in manifests]
        return self("apply", "--server-side", "-f", "-", stdin="\n---\n".join(documents))

    def get(self, kind: str, name: str, *, namespace: str | None = None) -> Manifest | None:
        """One object, None when it is absent."""
        found = self("get", kind, name, *_in(namespace), "--ignore-not-found", "-o", "json")
        return dict(json.loads(found)) if found else None

    def items(self, kind: str, *, namespace: str | None = None, selector: str = "") -> list[Manifest]:
        """All objects of a kind in a namespace (None: the default one, "" : all)."""
        found = self("get", kind, *_in(namespace), "-l", selector, "-o", "json")
        return [dict(item) for item in json.loads(found)["items"]]


def _in(namespace: str | None) -> tuple[str, ...]:
    if namespace is None:
        return ()
    return ("--namespace", namespace) if namespace else ("--all-namespaces",)
