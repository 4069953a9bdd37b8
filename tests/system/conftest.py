"""What the system tests share: one bare cluster, and one with workloads, their history and the product installed.

Tests that restart a server, or need another installation, start a cluster of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import scenario
from tests.scenario import Stage, staged
from tests.testbed import BuildError, Testbed
from tests.testbed.binaries import built_binaries


@pytest.fixture(scope="session")
def binaries() -> Path:
    """The programs of the testbed. Where they are not built, this is an error that says what to run, and no test is skipped."""
    try:
        return built_binaries()
    except BuildError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def bed(binaries: Path) -> Iterator[Testbed]:
    """A cluster with nothing in it, for tests that keep to their own namespaces and leave the servers alone."""
    with Testbed.start() as running:
        yield running


@pytest.fixture(scope="session")
def stage(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The cluster of the running operator. One operator at a time; a test ends its operator and takes its profiles away."""
    with staged(tmp_path_factory.mktemp("stage"), scenario.workloads(), scenario.shop_autoscaler()) as ready:
        yield ready
