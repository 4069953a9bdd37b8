"""A real Prometheus with a history that is known beforehand, and no control plane beside it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.testbed import PrometheusConfig
from tests.testbed.addresses import free_ports
from tests.testbed.binaries import built_binaries
from tests.testbed.processes import Processes
from tests.testbed.prometheus_server import PrometheusServer


def prometheus_major() -> int:
    """The major version of the Prometheus of the testbed."""
    said = subprocess.run([built_binaries() / "prometheus", "--version"], check=True, capture_output=True, text=True).stdout
    return int(said.removeprefix("prometheus, version ").partition(".")[0])


def seconds_off_the_edges() -> int:
    """How far off the edges of slots a history has to lie whose values are to be the same, however they are asked for.

    In Prometheus 2 a range includes its beginning: what lies exactly there counts in a query, and not in what is made of raw chunks.
    """
    return 7 if prometheus_major() < 3 else 0


@contextmanager
def loaded_prometheus(openmetrics: str, *, folder: Path, blocks: Sequence[Path] = ()) -> Iterator[str]:
    """The URL of a Prometheus that holds these samples, and `blocks`; it ends with the context. `folder` is for its files."""
    with loaded_server(openmetrics, folder=folder, config=PrometheusConfig(blocks=blocks)) as server:
        yield server.url


@contextmanager
def loaded_server(openmetrics: str, *, folder: Path, config: PrometheusConfig | None = None) -> Iterator[PrometheusServer]:
    """The same as a server that a test may kill and start again. `config`: what else it starts with."""
    config = config or PrometheusConfig()
    (folder / "history.txt").write_text(openmetrics)
    binaries = built_binaries()
    promtool: list[str | Path] = [binaries / "promtool", "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run([*promtool, folder / "history.txt", folder / "blocks"], check=True, capture_output=True)
    # Not under pytest's folder: the supervisor deletes its own.
    processes = Processes(Path(tempfile.mkdtemp(prefix="rightsizer-prometheus-")), delete_directory=True)
    try:
        server = PrometheusServer(
            processes=processes,
            binary=binaries / "prometheus",
            directory=folder / "prometheus",
            port=free_ports(1)[0],
            config=replace(config, blocks=[folder / "blocks", *config.blocks]),
        )
        server.start()
        yield server
    finally:
        processes.close()
