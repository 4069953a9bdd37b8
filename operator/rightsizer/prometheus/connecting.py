"""The usage source that the settings name. Sends nothing yet."""

from __future__ import annotations

from rightsizer.prometheus.connection import Connection, RequestObserver
from rightsizer.prometheus.endpoint import Endpoint
from rightsizer.prometheus.source import Prometheus
from rightsizer.settings import Settings


def connect(settings: Settings, *, on_request: RequestObserver | None = None) -> Prometheus:
    """Raises InvalidSettings where address and authentication do not go together."""
    endpoint = Endpoint(
        url=settings.prometheus_url,
        timeout_seconds=settings.prometheus_timeout_seconds,
        retries=settings.prometheus_retries,
        headers=settings.prometheus_headers,
        bearer_token_file=settings.prometheus_bearer_token_file,
        username=settings.prometheus_username,
        password_file=settings.prometheus_password_file,
        ca_file=settings.prometheus_ca_file,
        verify=settings.prometheus_verify,
    )
    return Prometheus(
        Connection(endpoint, on_request=on_request),
        extra_matchers=settings.prometheus_matchers,
        labels=settings.prometheus_labels,
        state_labels=settings.prometheus_kube_state_labels,
    )
