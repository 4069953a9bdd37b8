"""What can go wrong with the testbed, one tree, so that a test can tell a broken testbed from a broken product.

Knows nothing of processes or Kubernetes: it only names the failures.
"""

from __future__ import annotations

from collections.abc import Sequence


class TestbedError(Exception):
    """The testbed could not do what it was asked."""

    __test__ = False


class BuildError(TestbedError):
    """The binaries could not be built or found; the message says what to install or set."""


class NotProvided(TestbedError):
    """The folder of prebuilt binaries lacks a program that only some tests need: they are to be skipped."""


class TestbedTimeout(TestbedError):
    """Something did not become true in time; the message names what."""


class KubectlError(TestbedError):
    """kubectl ended with an error; `stderr` is what it said."""

    def __init__(self, *, arguments: Sequence[str], exit_code: int, stderr: str) -> None:
        super().__init__(f"kubectl {' '.join(arguments)} ended with {exit_code}: {stderr.strip()}")
        self.exit_code = exit_code
        self.stderr = stderr
