"""The usage source that the settings name. Sends nothing yet."""

from __future__ import annotations

from rightsizer.prometheus.connection import Connection, Line, RequestObserver
from rightsizer.prometheus.endpoint import Endpoint
from rightsizer.prometheus.files import check_contents
from rightsizer.prometheus.source import Prometheus
from rightsizer.settings import Settings, check_files
from rightsizer.stopping import Stopping


def connect(
    settings: Settings, *, on_request: RequestObserver | None = None, line: Line | None = None, stopping: Stopping | None = None
) -> Prometheus:
    """`line`: another way there than HTTP from here. When `stopping` is set, every further call raises Stopped.

    Raises InvalidSettings where address and authentication do not go together, or a file that is named cannot be used.
    """
    check_files(settings)
    check_contents(settings)
    endpoint = Endpoint(
        url=settings.prometheus_url,
        timeout_seconds=settings.prometheus_timeout_seconds,
        retries=settings.prometheus_retries,
        headers=settings.prometheus_headers,
        bearer_token_file=settings.prometheus_bearer_token_file,
        username=settings.prometheus_username,
        password_file=settings.prometheus_password_file,
        ca_file=settings.prometheus_ca_file,
        client_certificate_file=settings.prometheus_client_certificate_file,
        client_key_file=settings.prometheus_client_key_file,
        verify=settings.prometheus_verify,
    )
    return Prometheus(
        Connection(endpoint, on_request=on_request, line=line, stopping=stopping),
        extra_matchers=settings.prometheus_matchers,
        labels=settings.prometheus_labels,
        state_labels=settings.prometheus_kube_state_labels,
    )
