"""Finds a usage source among the Services of a cluster for a person who named none, and says which one and why.

The choice is pure. A Service is reached through the API server, or by its name from inside the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rightsizer.cluster import Service, ServiceProxy
from rightsizer.errors import (
    ClusterBusy,
    ClusterError,
    ClusterForbidden,
    InvalidInput,
    UsageSourceOverloaded,
    UsageSourceRefused,
    UsageSourceUnreachable,
)
from rightsizer.settings import PREFIX, Settings

WAYS = f"--prometheus-url URL (or {PREFIX}PROMETHEUS_URL), or --manifests DIR with --history FILE"

_MOST_NAMED = 5
_NAME, _COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"


@dataclass(frozen=True, slots=True)
class Pattern:
    """How the Services of one kind of server are known: these labels, and these ports, by name or number, the first that is there.

    `prefix`: what stands before `/api/v1`.
    """

    server: str
    labels: Mapping[str, str]
    ports: tuple[str | int, ...]
    prefix: str = ""


_WEB = ("http-web", "web", "http", 9090, 80)
_SINGLE = ("http", 8428, 8429)
_QUERIER = ("http", "http-query", "web", 9090, 10902)
_MIMIR = ("http-metrics", "http", 80, 8080)

# In order of preference: a Prometheus of this cluster knows no other one, what collects from several may. The names are those that the
# projects' own charts, operators and manifests use.
PATTERNS = (
    Pattern("Prometheus", {"app": "kube-prometheus-stack-prometheus"}, _WEB),
    Pattern("Prometheus", {_NAME: "prometheus"}, _WEB),
    Pattern("Prometheus", {"app": "prometheus", "component": "server"}, _WEB),
    Pattern("Prometheus", {"operated-prometheus": "true"}, _WEB),
    Pattern("VictoriaMetrics", {_NAME: "vmsingle"}, _SINGLE),
    Pattern("VictoriaMetrics", {_NAME: "victoria-metrics-single"}, _SINGLE),
    Pattern("Thanos", {_NAME: "thanos-query"}, _QUERIER),
    Pattern("Thanos", {_NAME: "thanos", _COMPONENT: "query"}, _QUERIER),
    Pattern("VictoriaMetrics", {_NAME: "vmselect"}, ("http", 8481), "/select/0/prometheus"),
    Pattern("Mimir", {_NAME: "mimir", _COMPONENT: "gateway"}, _MIMIR, "/prometheus"),
    Pattern("Mimir", {_NAME: "mimir", _COMPONENT: "nginx"}, _MIMIR, "/prometheus"),
    Pattern("Mimir", {_NAME: "mimir", _COMPONENT: "query-frontend"}, _MIMIR, "/prometheus"),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Service that looks like a usage source, and the port to ask."""

    service: Service
    pattern: Pattern
    port: int

    @property
    def url(self) -> str:
        """As it is reached from inside the cluster."""
        return f"http://{self.service.name}.{self.service.namespace}.svc:{self.port}{self.pattern.prefix}"

    @property
    def forwarding(self) -> str:
        """How a person reaches it without the API server's proxy."""
        forward = f"kubectl -n {self.service.namespace} port-forward service/{self.service.name} 9090:{self.port}"
        return f"`{forward}` and --prometheus-url http://127.0.0.1:9090{self.pattern.prefix}"

    def __str__(self) -> str:
        return f"{self.pattern.server} {self.service.namespace}/{self.service.name}:{self.port}"


def candidates(services: Iterable[Service]) -> list[Candidate]:
    """Those that look like a usage source, the preferred one first: by the order of the patterns, one with an address before a headless
    one, then by name."""
    found = [candidate for service in services if (candidate := _candidate(service)) is not None]
    return sorted(found, key=_preference)


def choose(services: Iterable[Service]) -> tuple[Candidate, Sequence[Candidate], str]:
    """The preferred one, the others, and what is said about the choice. Raises InvalidInput where none is there."""
    found = candidates(services)
    if not found:
        raise InvalidInput(
            "where does the usage come from? No Service of the cluster looks like a Prometheus, VictoriaMetrics, Thanos or Mimir: "
            f"give {WAYS}"
        )
    chosen, *others = found
    labels = ",".join(f"{name}={value}" for name, value in chosen.pattern.labels.items())
    return chosen, others, f"usage from {chosen}, found by {labels}{_passed_over(others)}; give --prometheus-url to take another"


def check_goes_through(settings: Settings) -> None:
    """Raises InvalidInput for what has no effect, or would do harm, on the way through the API server."""
    given = {
        "a secret": settings.prometheus_bearer_token_file or settings.prometheus_username,
        "a header Authorization": any(name.strip().lower() == "authorization" for name in settings.prometheus_headers),
        "a certificate": settings.prometheus_ca_file or settings.prometheus_client_certificate_file or not settings.prometheus_verify,
    }
    for what, value in given.items():
        if value:
            raise InvalidInput(f"{what} for Prometheus cannot be passed through the API server: give --prometheus-url too")


class ThroughApiServer:
    """Implements `prometheus.Line`: a Service by the API server's proxy, whose refusals are those of the usage source.

    `others`: what else was found, to be told where this one is not what it seemed, or away. None of them is asked in its place: they
    may hold the usage of another cluster, or a part of it.
    """

    def __init__(self, proxy: ServiceProxy, candidate: Candidate, others: Sequence[Candidate] = ()) -> None:
        self._proxy = proxy
        self._candidate = candidate
        self._others = others

    def post(
        self, path: str, form: Mapping[str, str], *, headers: Mapping[str, str], timeout_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            answer = self._proxy.post(f"{self._candidate.pattern.prefix}{path}", form, headers=headers, timeout_seconds=timeout_seconds)
        except ClusterForbidden as error:
            rights = f"the right to create services/proxy in namespace {self._candidate.service.namespace} is needed"
            raise UsageSourceRefused(403, f"{error}: {rights}, or {self._candidate.forwarding}") from error
        except ClusterBusy as error:
            raise UsageSourceOverloaded(429, str(error)) from error
        except ClusterError as error:
            raise UsageSourceUnreachable(f"{self._candidate} through the API server: {error}{self._instead()}") from error
        if answer[0] == 404 and self._others:
            raise UsageSourceRefused(404, f"{self._candidate} has no Prometheus API{self._instead()}")
        return answer

    def _instead(self) -> str:
        """How to ask the next one in its place."""
        return f"; found too: {self._others[0]}, by {self._others[0].forwarding}" if self._others else ""

    def close(self) -> None:
        self._proxy.close()


def _candidate(service: Service) -> Candidate | None:
    for pattern in PATTERNS:
        if all(service.labels.get(name) == value for name, value in pattern.labels.items()):
            port = _port(service, pattern)
            return None if port is None else Candidate(service, pattern, port)
    return None


def _port(service: Service, pattern: Pattern) -> int | None:
    for wanted in pattern.ports:
        for port in service.ports:
            if wanted in (port.name, port.number) and not port.name.startswith(("https", "grpc")):
                return port.number
    return None


def _preference(candidate: Candidate) -> tuple[int, bool, str, str]:
    service = candidate.service
    return PATTERNS.index(candidate.pattern), service.headless, service.namespace, service.name


def _passed_over(others: Sequence[Candidate]) -> str:
    if not others:
        return ""
    more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    return f" and preferred to {', '.join(str(other) for other in others[:_MOST_NAMED])}{more}"
