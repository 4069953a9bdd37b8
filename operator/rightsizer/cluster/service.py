"""Services of the cluster, and the way to one of them through the API server, which a person reaches from wherever kubectl works.

It does not know what the Service serves. The credential goes to the API server, which takes the header Authorization off a request
once it knows who asks, and passes on the rest (`WithAuthentication` of k8s.io/apiserver): the Service never sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import orjson

from rightsizer.cluster.connection import ApiConnection, configuration
from rightsizer.cluster.endpoint import SERVICES
from rightsizer.cluster.failure import failure_of
from rightsizer.cluster.metadata import Item
from rightsizer.stopping import Stopping

CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A TCP port; its name is empty where it has none."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Service:
    """What can be known a Service by. A headless one has no address of its own: each request may meet another pod."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    ports: tuple[ServicePort, ...]
    headless: bool = False


class ServiceProxy:
    """The line to one port of a Service (plain HTTP behind the API server). Safe to share between threads."""

    def __init__(self, connection: ApiConnection, *, namespace: str, name: str, port: int) -> None:
        self._connection = connection
        self._root = f"{SERVICES.path(namespace=namespace)}/http:{quote(name, safe='')}:{port}/proxy"

    def post(
        self, path: str, form: Mapping[str, str], *, headers: Mapping[str, str], timeout_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of what the Service answers. Raises ClusterError where the API server answers in its place."""
        whole = f"{self._root}{path}"
        status, received, content = self._connection.post_form(
            whole, form, headers=headers, connect_seconds=min(CONNECT_SECONDS, timeout_seconds), read_seconds=timeout_seconds
        )
        if status >= 400 and _is_status_object(content):
            raise failure_of(status, content, action=f"create services/proxy {whole}").error
        return status, received, content

    def close(self) -> None:
        self._connection.close()


def open_service(
    kubeconfig: str | None, context: str | None, *, namespace: str, name: str, port: int, stopping: Stopping | None = None
) -> ServiceProxy:
    """Sends nothing yet. Raises ClusterUnreachable where there is no usable configuration."""
    return ServiceProxy(ApiConnection(configuration(kubeconfig, context), stopping), namespace=namespace, name=name, port=port)


def parse_service(item: Item) -> Service:
    metadata, spec = item["metadata"], item["spec"]
    ports = [port for port in spec.get("ports") or [] if port.get("protocol", "TCP") == "TCP"]
    return Service(
        namespace=metadata["namespace"],
        name=metadata["name"],
        labels=metadata.get("labels") or {},
        ports=tuple(ServicePort(port.get("name") or "", int(port["port"])) for port in ports),
        headless=spec.get("clusterIP") == "None",
    )


def _is_status_object(content: bytes) -> bool:
    try:
        decoded = orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return isinstance(decoded, dict) and decoded.get("kind") == "Status"
