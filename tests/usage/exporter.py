"""Serves the usage of a cluster's pods to Prometheus, standing in for the kubelets and for kube-state-metrics.

The pods are those that the API server has; what they use follows from the scenario and the time. Runs inside a test
(``LiveExporter``) or by itself: ``python -m tests.usage.exporter --scenario MODULE:FUNCTION --kubeconfig FILE --port N``.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.usage.cluster_pod import ClusterObjects, ClusterPods
from tests.usage.exposition import SCRAPE_CONTENT_TYPE, scrape_page
from tests.usage.pod import PodRun
from tests.usage.workload import WorkloadUsage

ClusterSource = Callable[[], ClusterObjects]

METRICS_PATH = "/metrics"

_API_TIMEOUT_SECONDS = 5.0
_REFRESH_SECONDS = 3.0

logger = logging.getLogger(__name__)


class ClusterUnavailableError(Exception):
    """The API server did not answer, or not with a list."""


def cluster_source(kubeconfig: Path) -> ClusterSource:
    """Lists pods, ReplicaSets and Jobs with the credentials of a kubeconfig file; needs ``list`` on the three.

    The function that it returns raises ClusterUnavailableError.
    """
    # Loaded late: it takes half a second, and neither the writers nor a test with its own source need it.
    from kubernetes import client, config
    from urllib3.exceptions import HTTPError

    api = config.new_client_from_config(config_file=str(kubeconfig), persist_config=False)
    core, apps, batch = client.CoreV1Api(api), client.AppsV1Api(api), client.BatchV1Api(api)

    def listed(call: Callable[..., Any]) -> list[dict[str, Any]]:
        try:
            answer = call(_preload_content=False, _request_timeout=_API_TIMEOUT_SECONDS)
            items: list[dict[str, Any]] = json.loads(answer.data)["items"]
        except (client.ApiException, HTTPError, OSError, ValueError, KeyError) as error:
            raise ClusterUnavailableError(f"listing failed: {error}") from error
        return items

    def objects() -> ClusterObjects:
        return ClusterObjects(
            pods=listed(core.list_pod_for_all_namespaces),
            replicasets=listed(apps.list_replica_set_for_all_namespaces),
            jobs=listed(batch.list_job_for_all_namespaces),
        )

    return objects


class LiveExporter:
    """An HTTP server on 127.0.0.1 whose page shows, at each scrape, what the pods of a cluster use at that moment.

    Pods are listed when a scrape finds the last list older than ``refresh_seconds``. While the API server is away the last
    list stays: kubelets go on reporting then, too.
    """

    def __init__(
        self,
        workloads: Iterable[WorkloadUsage],
        cluster: Path | ClusterSource,
        *,
        port: int = 0,
        refresh_seconds: float = _REFRESH_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = cluster_source(cluster) if isinstance(cluster, Path) else cluster
        self._pods = ClusterPods(workloads)
        self._running: list[PodRun] = []
        self._refreshed = float("-inf")
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self.page))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``, the target to scrape."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def page(self) -> str:
        """The page as of now."""
        with self._lock:
            now = self._clock()
            if now - self._refreshed >= self._refresh_seconds:
                self._refresh()
                self._refreshed = now
            return scrape_page(self._running, now=self._clock())

    def scrape_config(self, *, interval_seconds: float = 15.0) -> dict[str, Any]:
        """The entry for ``scrape_configs`` of Prometheus.

        The page carries the labels of kubelet and kube-state-metrics, which must win over the scraper's own, and the
        timestamps of cAdvisor. Tracking their staleness ends the series of a deleted pod with the next scrape.
        """
        return {
            "job_name": "usage",
            "scrape_interval": f"{interval_seconds:g}s",
            "scrape_timeout": f"{min(interval_seconds, 10.0):g}s",
            "metrics_path": METRICS_PATH,
            "honor_labels": True,
            "honor_timestamps": True,
            "track_timestamps_staleness": True,
            "static_configs": [{"targets": [self.address]}],
        }

    def start(self) -> LiveExporter:
        """Serves in a thread of its own until stopped."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends the server and frees its port; does nothing the second time."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> LiveExporter:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _refresh(self) -> None:
        try:
            self._running = self._pods.running(self._source())
        except ClusterUnavailableError as error:
            logger.warning("going on with the pods known before: %s", error)


def _handler(page: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != METRICS_PATH:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            body = page().encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", SCRAPE_CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # a scraper that hung up does not want the rest
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not worth a line each."""

    return Handler


def load_scenario(reference: str) -> tuple[WorkloadUsage, ...]:
    """The workloads that ``module:function`` returns."""
    module, _, function = reference.partition(":")
    return tuple(getattr(import_module(module), function or "workloads")())


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--scenario", default="tests.usage.demo_scenario:workloads", metavar="MODULE:FUNCTION")
    arguments.add_argument("--kubeconfig", type=Path, required=True, metavar="FILE")
    arguments.add_argument("--port", type=int, default=0)
    options = arguments.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with LiveExporter(load_scenario(options.scenario), options.kubeconfig, port=options.port) as exporter:
        print(f"serving usage on http://{exporter.address}{METRICS_PATH}", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
