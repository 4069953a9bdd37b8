"""The settings of the running operator: every one a typed field, read from the environment, checked when it is made.

Names of environment variables are `RIGHTSIZER_` and the field's name in capitals. Secrets stand in files, never in a setting.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from rightsizer.errors import InvalidSettings
from rightsizer.promql import USUAL_LABELS, LabelNames, checked_matchers, parse_label_names

PREFIX = "RIGHTSIZER_"

# Options that are not called as their settings, and settings of the usage source that have none.
_OTHERWISE_CALLED = {"prometheus_timeout_seconds": "prometheus_timeout", "prometheus_headers": "prometheus_header"}
_OPTIONLESS = ("prometheus_retries", "prometheus_queries_at_once", "prometheus_verify")

_OF_A_SERVICE = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_[0-9]+_(TCP|UDP|SCTP).*)?$")


def named(name: str) -> str:
    """The variable of a setting, and its option where it has one: the value may have been typed."""
    option = _OTHERWISE_CALLED.get(name, name).replace("_", "-")
    return f"{PREFIX}{name.upper()}" + (f" (or --{option})" if name.startswith("prometheus_") and name not in _OPTIONLESS else "")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("write a number") from None


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("write a whole number") from None


def _flag(text: str) -> bool:
    values = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        return values[text.strip().lower()]
    except KeyError:
        raise ValueError("write true or false") from None


def _headers(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if any(not separator or not name.strip() for name, separator, _ in pairs):
        raise ValueError("write NAME=VALUE, several with commas between them")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _setting(read: Callable[[str], Any], default: Any = MISSING) -> Any:
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"read": read})
    return field(default=default, metadata={"read": read})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the operator runs. Times in seconds.

    `prometheus_url`: the usage source, up to and without `/api/v1`. The other `prometheus_` fields: how to get in; `prometheus_matchers`
    (`cluster="x"`) narrows every question on a server that several clusters share; `prometheus_labels` and `prometheus_kube_state_labels`:
    what the labels namespace, pod and container are called there, in the metrics of the kubelet and in those of kube-state-metrics.
    `cycle_seconds`: from the start of a cycle to the start of the next; the usage source is only asked when a 5-minute slot has ended.
    `stalled_after_seconds`: the health endpoint fails when no cycle ended for so long; a first one may take as long as it makes progress.
    `history_folder`: where the usage history survives a restart; without one it is in memory and read anew.
    `prometheus_queries_at_once`: how many questions may be under way at a time.
    `rollouts_per_namespace`: how many workloads of a namespace may be in a rollout of ours at a time, whatever its profiles allow.
    `http_address`, `http_port`: where `/healthz` and `/metrics` are served; port 0 takes a free one.
    `log_level`: debug, info, warning or error.
    """

    prometheus_url: str = _setting(str)
    prometheus_timeout_seconds: float = _setting(_number, 30.0)
    prometheus_retries: int = _setting(_whole_number, 2)
    prometheus_headers: Mapping[str, str] = _setting(_headers, {})
    prometheus_matchers: str = _setting(checked_matchers, "")
    prometheus_labels: LabelNames = _setting(parse_label_names, USUAL_LABELS)
    prometheus_kube_state_labels: LabelNames = _setting(parse_label_names, USUAL_LABELS)
    prometheus_bearer_token_file: Path | None = _setting(Path, None)
    prometheus_username: str | None = _setting(str, None)
    prometheus_password_file: Path | None = _setting(Path, None)
    prometheus_ca_file: Path | None = _setting(Path, None)
    prometheus_client_certificate_file: Path | None = _setting(Path, None)
    prometheus_client_key_file: Path | None = _setting(Path, None)
    prometheus_verify: bool = _setting(_flag, True)
    prometheus_queries_at_once: int = _setting(_whole_number, 2)
    history_folder: Path | None = _setting(Path, None)
    rollouts_per_namespace: int = _setting(_whole_number, 1)
    cycle_seconds: float = _setting(_number, 60.0)
    stalled_after_seconds: float = _setting(_number, 900.0)
    http_address: str = _setting(str, "0.0.0.0")
    http_port: int = _setting(_whole_number, 8080)
    log_level: str = _setting(str.lower, "info")

    def __post_init__(self) -> None:
        _check(self.prometheus_url.startswith(("http://", "https://")), "prometheus_url", "write http://HOST:PORT or https://HOST:PORT")
        _check(0 < self.prometheus_timeout_seconds < math.inf, "prometheus_timeout_seconds", "it must be above 0")
        _check(self.prometheus_retries >= 0, "prometheus_retries", "it must not be below 0")
        _check(1 <= self.prometheus_queries_at_once <= 32, "prometheus_queries_at_once", "write 1 to 32")
        both = (self.prometheus_username is None) == (self.prometheus_password_file is None)
        _check(both, "prometheus_username", "a username and a password file are of no use without the other")
        certificate = "prometheus_client_certificate_file"
        both = (self.prometheus_client_certificate_file is None) == (self.prometheus_client_key_file is None)
        _check(both, certificate, "a client certificate and a key file are of no use without the other")
        encrypted = self.prometheus_client_certificate_file is None or self.prometheus_url.startswith("https://")
        _check(encrypted, certificate, "a client certificate is only shown to a URL that begins with https://")
        _check(self.history_folder is None or self.history_folder.is_absolute(), "history_folder", "write an absolute path")
        _check(1 <= self.rollouts_per_namespace <= 100, "rollouts_per_namespace", "write 1 to 100")
        _check(self.cycle_seconds >= 1, "cycle_seconds", "a cycle starts at most once a second")
        _check(self.stalled_after_seconds > self.cycle_seconds, "stalled_after_seconds", "it must be longer than cycle_seconds")
        _check(0 <= self.http_port <= 65_535, "http_port", "a port is 0 to 65535")
        _check(self.log_level in ("debug", "info", "warning", "error"), "log_level", "write debug, info, warning or error")


def _check(fine: bool, name: str, advice: str) -> None:
    if not fine:
        raise InvalidSettings(f"{named(name)}: {advice}")


def from_environment(environment: Mapping[str, str], **given: Any) -> Settings:
    """The settings from environment variables; what is `given` and not None goes before. Unknown RIGHTSIZER_ variables are refused.

    Raises InvalidSettings, naming the variable.
    """
    check_names(environment)
    known = _known()
    values = {item.name: _read(name, item.metadata["read"], environment[name]) for name, item in known.items() if environment.get(name)}
    values |= {name: value for name, value in given.items() if value is not None}
    if not values.get("prometheus_url"):
        raise InvalidSettings(
            f"{named('prometheus_url')}: the address of a Prometheus is needed, such as http://prometheus.monitoring.svc:9090"
        )
    return Settings(**values)


def check_names(environment: Mapping[str, str]) -> None:
    """Raises InvalidSettings for a variable that begins as ours do and is none."""
    known = _known()
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known and not _foreign(name))
    if unknown:
        raise InvalidSettings(f"{', '.join(unknown)}: no such setting; known are {', '.join(sorted(known))}")


def _known() -> dict[str, Field[Any]]:
    return {f"{PREFIX}{item.name.upper()}": item for item in fields(Settings)}


def check_files(settings: Settings) -> None:
    """Raises InvalidSettings, naming the variable, where a file with a secret or a certificate cannot be read now, or is of no use."""
    checked = settings.prometheus_ca_file is None or settings.prometheus_url.startswith("https://")
    _check(checked, "prometheus_ca_file", "certificates are only checked where the URL begins with https://")
    for name in (item.name for item in fields(Settings) if item.name.endswith("_file")):
        path: Path | None = getattr(settings, name)
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            _check(False, name, f"{path} cannot be read ({error.strerror})")


def usage_origin(settings: Settings) -> dict[str, str]:
    """What decides which values the usage source answers, by the name of the variable, as digests.

    Which server, as whom (a tenant may be told by a header or by the name), and which series of it. What only lets in, a secret, may be
    renewed: it is left out.
    """
    headers = sorted((name.lower(), value) for name, value in settings.prometheus_headers.items() if name.lower() != "authorization")
    deciding = {
        "prometheus_url": settings.prometheus_url.rstrip("/"),
        "prometheus_headers": repr(headers),
        "prometheus_username": settings.prometheus_username or "",
        "prometheus_matchers": settings.prometheus_matchers,
        "prometheus_labels": repr(settings.prometheus_labels),
        "prometheus_kube_state_labels": repr(settings.prometheus_kube_state_labels),
    }
    return {f"{PREFIX}{name.upper()}": hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in deciding.items()}


def _foreign(name: str) -> bool:
    # Kubernetes puts variables of each Service into a pod, and some Service may be called rightsizer-something; the testbed has its own.
    return _OF_A_SERVICE.search(name) is not None or name.startswith((f"{PREFIX}TESTBED_", f"{PREFIX}CACHE"))


def _read(name: str, read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise InvalidSettings(f"{name}: {text!r} cannot be used: {error}") from error
