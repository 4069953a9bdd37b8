"""The arms that Rightsizer is compared with: they ask a real Prometheus and are measured from the server's side.

What an answer means does not matter here, only that it is read to its end; owners and pods are taken from the answers, as a tool has to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import orjson
import requests

from tests.bench import questions
from tests.bench.generated import GeneratedCluster, GeneratedWorkload, evenly
from tests.bench.meter import ServerMeter
from tests.bench.record import Arm, Record, record_of, scaled_up
from tests.bench.usage_server import UsageServer

PARALLEL = 10
# The server gives up after 2 minutes of work and says so.
PATIENCE_SECONDS = 300.0

Tell = Callable[[str], None]


class NoAnswer(Exception):
    """The server refused a question or gave it up; the text is what it said."""


class Asker:
    """Instant queries at one time (unix seconds); safe for several threads."""

    def __init__(self, url: str, *, at: int) -> None:
        self._url = f"{url}/api/v1/query"
        self._at = at
        self._sessions = threading.local()

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series of the answer. Raises NoAnswer."""
        try:
            response = self._session().post(self._url, data={"query": query, "time": str(self._at)}, timeout=PATIENCE_SECONDS)
        except requests.RequestException as error:
            raise NoAnswer(f"{type(error).__name__} ({query[:60]}...)") from error
        if response.status_code != 200:
            raise NoAnswer(f"HTTP {response.status_code}: {response.text[:300].strip()}")
        return list(orjson.loads(response.content)["data"]["result"])

    def _session(self) -> requests.Session:
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
            self._sessions.session.trust_env = False
            # Not packed, so that bytes are the same bytes in every arm, and packing is nobody's processor time.
            self._sessions.session.headers["Accept-Encoding"] = "identity"
        session: requests.Session = self._sessions.session
        return session


def ask_per_container(server: UsageServer, cluster: GeneratedCluster, *, asked: int, tell: Tell) -> Record:
    """Seven questions for each container of a sample, ten containers at a time, scaled up to all."""
    asker = Asker(server.url, at=cluster.end)
    sample = evenly(cluster.sized_containers, asked)
    meter = ServerMeter(server)
    done = 0
    trouble = ""
    with ThreadPoolExecutor(PARALLEL) as pool:
        for failure in pool.map(lambda one: _one_container(asker, *one, days=cluster.days), sample):
            done += 1
            trouble = trouble or failure
            if done % PARALLEL == 0:
                tell(f"  {done} of {len(sample)} containers, {meter.seconds():.0f} s, Prometheus CPU {meter.cpu_seconds():.0f} s")
    return scaled_up(replace(_record(meter, cluster, arm="per-container"), trouble=trouble), asked_containers=len(sample))


def ask_cluster_wide(server: UsageServer, cluster: GeneratedCluster, *, tell: Tell) -> Record:
    """One question per resource for everything. On a large cluster the server may refuse: the figures are then those until it did."""
    asker = Asker(server.url, at=cluster.end)
    meter = ServerMeter(server)
    trouble = []
    for query in questions.of_everything(days=cluster.days):
        try:
            series = len(asker.ask(query))
            tell(f"  {series:,} series, {meter.seconds():.0f} s, Prometheus CPU {meter.cpu_seconds():.0f} s")
        except NoAnswer as error:
            tell(f"  {error}")
            trouble.append(str(error))
    server.check_alive()
    return replace(_record(meter, cluster, arm="cluster-wide"), trouble="; ".join(trouble))


def _record(meter: ServerMeter, cluster: GeneratedCluster, *, arm: Arm) -> Record:
    return record_of(
        meter.read(),
        arm=arm,
        phase="backfill",
        containers=cluster.containers,
        days=cluster.days,
        sized_containers=len(cluster.sized_containers),
    )


def _one_container(asker: Asker, workload: GeneratedWorkload, container: str, *, days: int) -> str:
    """What went wrong, if anything did."""
    try:
        pods = _pods(asker, workload, days=days)
        asker.ask(questions.running(namespace=workload.namespace, pods=pods))
        for query in questions.of_container(namespace=workload.namespace, pods=pods, container=container, days=days):
            if not asker.ask(query):
                return f"{workload.namespace}/{workload.name}: nothing known of {container}"
    except NoAnswer as error:
        return str(error)
    return ""


def _pods(asker: Asker, workload: GeneratedWorkload, *, days: int) -> list[str]:
    owner_kind, owners = workload.kind, [workload.name]
    if workload.kind == "Deployment":
        found = asker.ask(questions.replica_sets(namespace=workload.namespace, deployment=workload.name, days=days))
        owner_kind, owners = "ReplicaSet", _values(found, "replicaset")
    return _values(asker.ask(questions.pods(namespace=workload.namespace, owner_kind=owner_kind, owners=owners, days=days)), "pod")


def _values(series: list[dict[str, Any]], label: str) -> list[str]:
    return sorted({str(one["metric"][label]) for one in series})
