"""The connection to an API server: from a kubeconfig or from inside a pod, with credentials that follow their rotation.

The only file that knows the `kubernetes` client. Of it only configuration, authentication and transport are used: its typed models drop
fields that they do not know and cost several times the memory and time of the JSON behind them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

import urllib3
import yaml
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, list_kube_config_contexts, load_incluster_config, load_kube_config
from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION

from rightsizer import __version__
from rightsizer.cluster.transport import Answer, Request
from rightsizer.errors import ClusterUnreachable
from rightsizer.stopping import Stopping, watched_pools

# The last four are what the client stumbles over, beside its own error, in a file that is YAML and no kubeconfig.
_UNUSABLE = (ConfigException, yaml.YAMLError, OSError, TypeError, AttributeError, LookupError, ValueError)

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ApiConnection:
    """A Wire over the client's connection pool, whose connections `stopping` can cut. Safe to share between threads."""

    def __init__(self, configuration: Configuration, stopping: Stopping | None = None) -> None:
        # The pool's own retries know neither which request may be repeated nor our bounds.
        configuration.retries = False
        self._client = ApiClient(configuration)
        if stopping is not None:
            self._client.rest_client.pool_manager.pool_classes_by_scheme = watched_pools(stopping)
        self._client.user_agent = f"rightsizer/{__version__}"

    def send(self, request: Request, *, connect_seconds: float, read_seconds: float) -> Answer:
        path = f"{request.path}?{urlencode(request.query)}" if request.query else request.path
        try:
            method, url, headers, body, _ = self._client.param_serialize(
                request.method,
                path,
                header_params={"Accept": request.accept, "Content-Type": request.content_type},
                body=request.body,
                auth_settings=["BearerToken"],
            )
            response = self._client.call_api(method, url, headers, body=body, _request_timeout=(connect_seconds, read_seconds))
            content = response.read()
        except (urllib3.exceptions.HTTPError, ApiException, ConfigException, OSError) as error:
            raise ClusterUnreachable(f"{request.verb} {request.path}: {type(error).__name__}: {error}") from error
        return Answer(response.status, content, _seconds(response.headers.get("Retry-After")))

    def post_form(
        self, path: str, form: Mapping[str, str], *, headers: Mapping[str, str], connect_seconds: float, read_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the answer to a form, whatever it is. Raises ClusterUnreachable where there is none."""
        try:
            method, url, sent, _, fields = self._client.param_serialize(
                "POST",
                path,
                header_params={**headers, "Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"},
                post_params=list(form.items()),
                auth_settings=["BearerToken"],
            )
            response = self._client.call_api(method, url, sent, post_params=fields, _request_timeout=(connect_seconds, read_seconds))
            return response.status, response.headers, response.read()
        except (urllib3.exceptions.HTTPError, ApiException, ConfigException, OSError) as error:
            raise ClusterUnreachable(f"POST {path}: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        self._client.rest_client.close()


def configuration(kubeconfig: str | None, context: str | None) -> Configuration:
    """How to reach the cluster: from the kubeconfig named, else from inside a pod, else from the default kubeconfig.

    Raises ClusterUnreachable where none of them can be used.
    """
    found = Configuration()
    try:
        if in_pod(kubeconfig, context):
            load_incluster_config(client_configuration=found)
        else:
            load_kube_config(config_file=kubeconfig, context=context, client_configuration=found, persist_config=False)
    except _UNUSABLE as error:
        raise _no_access(kubeconfig, context, error) from error
    return found


def current_namespace(kubeconfig: str | None, context: str | None) -> str:
    """The namespace of the context (the current one where none is named), as kubectl takes it; `default` where it names none.

    Raises ClusterUnreachable where there is no such context.
    """
    if in_pod(kubeconfig, context):
        return _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.is_file() else "default"
    try:
        contexts, current = list_kube_config_contexts(kubeconfig)
        wanted = current if context is None else next((one for one in contexts if one["name"] == context), None)
        if wanted is not None:
            return str(wanted["context"].get("namespace") or "default")
    except _UNUSABLE as error:
        raise _no_access(kubeconfig, context, error) from error
    raise ClusterUnreachable(f"the kubeconfig has no context {context}")


def in_pod(kubeconfig: str | None, context: str | None) -> bool:
    """Whether the cluster is the one that this process runs in."""
    return kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ


def _no_access(kubeconfig: str | None, context: str | None, error: Exception) -> ClusterUnreachable:
    if in_pod(kubeconfig, context):
        return ClusterUnreachable(f"no access to a cluster: {error}")
    # What the client took from KUBECONFIG when it was loaded.
    named = kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION
    told = isinstance(error, ConfigException | yaml.YAMLError | OSError)
    words = str(error) if told else f"it holds no kubeconfig ({type(error).__name__}: {error})"
    return ClusterUnreachable(f"no access to a cluster by the kubeconfig {named}: {words}")


def _seconds(retry_after: str | None) -> float | None:
    # The header may also be a date; the API server always sends seconds.
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
