from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from rightsizer.errors import InvalidSettings
from rightsizer.promql import LabelNames
from rightsizer.settings import Settings, check_files, from_environment, usage_origin
from rightsizer.workload import WorkloadRef

URL = {"RIGHTSIZER_PROMETHEUS_URL": "http://prometheus:9090"}
PASSWORD = {"RIGHTSIZER_PROMETHEUS_PASSWORD_FILE": "/secrets/password"}
TLS = {"RIGHTSIZER_PROMETHEUS_URL": "https://p"}
CERTIFICATE = {"RIGHTSIZER_PROMETHEUS_URL": "https://p", "RIGHTSIZER_PROMETHEUS_CLIENT_CERTIFICATE_FILE": "/client.crt"}
KEY = {"RIGHTSIZER_PROMETHEUS_URL": "https://p", "RIGHTSIZER_PROMETHEUS_CLIENT_KEY_FILE": "/client.key"}
USERNAME = {"RIGHTSIZER_PROMETHEUS_USERNAME": "reader"}

READ: list[tuple[str, str, Any]] = [
    ("PROMETHEUS_URL", "https://thanos/x", "https://thanos/x"),
    ("PROMETHEUS_TIMEOUT_SECONDS", "7.5", 7.5),
    ("PROMETHEUS_RETRIES", "0", 0),
    ("PROMETHEUS_QUERIES_AT_ONCE", "4", 4),
    ("HISTORY_FOLDER", "/var/lib/rightsizer", Path("/var/lib/rightsizer")),
    ("PROMETHEUS_HEADERS", "X-Scope-OrgID=team, X-Other = a=b,", {"X-Scope-OrgID": "team", "X-Other": "a=b"}),
    ("PROMETHEUS_MATCHERS", 'cluster="x",', 'cluster="x"'),
    ("PROMETHEUS_LABELS", "namespace=kubernetes_namespace,pod = pod_name,", LabelNames(namespace="kubernetes_namespace", pod="pod_name")),
    ("PROMETHEUS_KUBE_STATE_LABELS", "container=exported_container", LabelNames(container="exported_container")),
    ("PROMETHEUS_BEARER_TOKEN_FILE", "/secrets/token", Path("/secrets/token")),
    ("PROMETHEUS_USERNAME", "reader", "reader"),
    ("PROMETHEUS_PASSWORD_FILE", "/secrets/password", Path("/secrets/password")),
    ("PROMETHEUS_CA_FILE", "/ca.crt", Path("/ca.crt")),
    ("PROMETHEUS_CLIENT_CERTIFICATE_FILE", "/client.crt", Path("/client.crt")),
    ("PROMETHEUS_CLIENT_KEY_FILE", "/client.key", Path("/client.key")),
    ("PROMETHEUS_VERIFY", "No", False),
    ("OPERATOR_DEPLOYMENT", "system/sizer", WorkloadRef("system", "Deployment", "sizer")),
    ("CYCLE_SECONDS", "15", 15.0),
    ("ROLLOUTS_PER_NAMESPACE", "7", 7),
    ("STALLED_AFTER_SECONDS", "120", 120.0),
    ("HTTP_ADDRESS", "127.0.0.1", "127.0.0.1"),
    ("HTTP_PORT", "0", 0),
    ("LOG_LEVEL", "DEBUG", "debug"),
]


@pytest.mark.parametrize(("name", "text", "value"), READ, ids=[name for name, *_ in READ])
def test_variable_is_read(name: str, text: str, value: Any) -> None:
    pairs = {
        "USERNAME": PASSWORD,
        "PASSWORD_FILE": USERNAME,
        "CLIENT_CERTIFICATE_FILE": KEY,
        "CLIENT_KEY_FILE": CERTIFICATE,
        "CA_FILE": TLS,
    }
    pair = pairs.get(name.removeprefix("PROMETHEUS_"), {})
    found = from_environment({**URL, **pair, f"RIGHTSIZER_{name}": text})
    assert getattr(found, name.lower()) == value


def test_every_setting_has_its_variable() -> None:
    assert {name.lower() for name, *_ in READ} == {item.name for item in fields(Settings)}


def test_defaults() -> None:
    found = from_environment(URL)
    assert found == Settings(prometheus_url="http://prometheus:9090")
    assert (found.cycle_seconds, found.stalled_after_seconds, found.http_port, found.prometheus_verify) == (60.0, 900.0, 8080, True)
    assert found.prometheus_headers == {}


def test_empty_variable_counts_as_not_set() -> None:
    assert from_environment({**URL, "RIGHTSIZER_HTTP_PORT": "", "RIGHTSIZER_PROMETHEUS_CA_FILE": ""}) == from_environment(URL)


def test_given_goes_before_the_environment() -> None:
    found = from_environment({**URL, "RIGHTSIZER_LOG_LEVEL": "error"}, prometheus_url="http://other", log_level=None)
    assert (found.prometheus_url, found.log_level) == ("http://other", "error")


@pytest.mark.parametrize("text", ["true", "1", "yes", " TRUE "])
def test_flag_is_true(text: str) -> None:
    assert from_environment({**URL, "RIGHTSIZER_PROMETHEUS_VERIFY": text}).prometheus_verify is True


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PROMETHEUS_URL", "prometheus:9090"),
        ("PROMETHEUS_TIMEOUT_SECONDS", "30s"),
        ("PROMETHEUS_TIMEOUT_SECONDS", "0"),
        ("PROMETHEUS_TIMEOUT_SECONDS", "-1"),
        ("PROMETHEUS_TIMEOUT_SECONDS", "inf"),
        ("PROMETHEUS_RETRIES", "two"),
        ("OPERATOR_DEPLOYMENT", "sizer"),
        ("OPERATOR_DEPLOYMENT", "/sizer"),
        ("OPERATOR_DEPLOYMENT", "a/b/c"),
        ("PROMETHEUS_RETRIES", "-1"),
        ("PROMETHEUS_QUERIES_AT_ONCE", "0"),
        ("PROMETHEUS_QUERIES_AT_ONCE", "33"),
        ("PROMETHEUS_HEADERS", "X-Scope-OrgID"),
        ("PROMETHEUS_HEADERS", "=team"),
        ("PROMETHEUS_MATCHERS", "cluster=east"),
        ("PROMETHEUS_MATCHERS", "}"),
        ("PROMETHEUS_MATCHERS", 'a=~"("'),
        ("PROMETHEUS_LABELS", "namespace"),
        ("PROMETHEUS_LABELS", "pod="),
        ("PROMETHEUS_LABELS", "node=instance"),
        ("PROMETHEUS_LABELS", "pod=a,pod=b"),
        ("PROMETHEUS_LABELS", "pod=pod-name"),
        ("PROMETHEUS_LABELS", "pod=1st"),
        ("PROMETHEUS_LABELS", "pod=a=b"),
        ("PROMETHEUS_LABELS", "pod=container"),
        ("PROMETHEUS_KUBE_STATE_LABELS", "exported_pod"),
        ("PROMETHEUS_USERNAME", "reader"),
        ("PROMETHEUS_CLIENT_CERTIFICATE_FILE", "/client.crt"),
        ("PROMETHEUS_VERIFY", "maybe"),
        ("HISTORY_FOLDER", "history"),
        ("CYCLE_SECONDS", "soon"),
        ("CYCLE_SECONDS", "0.5"),
        ("CYCLE_SECONDS", "nan"),
        ("STALLED_AFTER_SECONDS", "60"),
        ("STALLED_AFTER_SECONDS", "nan"),
        ("HTTP_PORT", "http"),
        ("HTTP_PORT", "-1"),
        ("HTTP_PORT", "65536"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_wrong_value_names_the_variable(name: str, text: str) -> None:
    with pytest.raises(InvalidSettings, match=f"RIGHTSIZER_{name}"):
        from_environment({**URL, f"RIGHTSIZER_{name}": text})


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [("CYCLE_SECONDS", "abc", "'abc' cannot be used: write a number$"), ("HTTP_PORT", "1.5", ".* write a whole number$")],
)
def test_a_text_that_is_no_number(name: str, text: str, advice: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^RIGHTSIZER_{name}: {advice}"):
        from_environment({**URL, f"RIGHTSIZER_{name}": text})


@pytest.mark.parametrize("name", ["BEARER_TOKEN_FILE", "PASSWORD_FILE", "CA_FILE", "CLIENT_CERTIFICATE_FILE", "CLIENT_KEY_FILE"])
@pytest.mark.parametrize(("file", "why"), [("absent", "No such file or directory"), ("", "Is a directory")])
def test_a_file_that_cannot_be_read_is_told_with_its_variable_and_its_option(tmp_path: Path, name: str, file: str, why: str) -> None:
    (tmp_path / "there").touch()
    names = ("PASSWORD_FILE", "CA_FILE", "CLIENT_CERTIFICATE_FILE", "CLIENT_KEY_FILE")
    files = {**dict.fromkeys(names, tmp_path / "there"), name: tmp_path / file}
    given = {f"RIGHTSIZER_PROMETHEUS_{one}": str(path) for one, path in files.items()}
    found = from_environment({**TLS, **USERNAME, **given})
    option = f"--prometheus-{name.lower().replace('_', '-')}"
    with pytest.raises(InvalidSettings) as told:
        check_files(found)
    assert str(told.value) == f"RIGHTSIZER_PROMETHEUS_{name} (or {option}): {tmp_path / file} cannot be read ({why})"


def test_a_ca_file_is_of_no_use_without_tls(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    with pytest.raises(InvalidSettings, match=r"_CA_FILE \(or --prometheus-ca-file\): certificates are only checked where the URL"):
        check_files(from_environment({**URL, "RIGHTSIZER_PROMETHEUS_CA_FILE": str(tmp_path / "there")}))


def test_files_that_are_there_are_not_objected_to(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    check_files(from_environment({**TLS, "RIGHTSIZER_PROMETHEUS_CA_FILE": str(tmp_path / "there")}))


def test_a_client_certificate_goes_with_its_key_and_with_tls() -> None:
    words = r"RIGHTSIZER_PROMETHEUS_CLIENT_CERTIFICATE_FILE \(or --prometheus-client-certificate-file\): a client certificate"
    for lacking in (CERTIFICATE, KEY):
        with pytest.raises(InvalidSettings, match=f"{words} and a key file are of no use without the other"):
            from_environment(lacking)
    with pytest.raises(InvalidSettings, match=f"{words} is only shown to a URL that begins with https://"):
        from_environment({**CERTIFICATE, **KEY, **URL})


@pytest.mark.parametrize("environment", [{}, {"RIGHTSIZER_PROMETHEUS_URL": ""}])
def test_without_a_prometheus(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidSettings, match=r"RIGHTSIZER_PROMETHEUS_URL \(or --prometheus-url\): the address of a Prometheus is needed"):
        from_environment(environment)


def test_unknown_variable_is_refused_and_the_known_ones_are_told() -> None:
    with pytest.raises(InvalidSettings, match=r"^RIGHTSIZER_CYCLE_SECS: no such setting; known are RIGHTSIZER_CYCLE_SECONDS, "):
        from_environment({**URL, "RIGHTSIZER_CYCLE_SECS": "60"})


def test_variables_that_kubernetes_makes_of_our_service_are_passed_over() -> None:
    service = {
        "RIGHTSIZER_SERVICE_HOST": "10.0.0.7",
        "RIGHTSIZER_SERVICE_PORT": "8080",
        "RIGHTSIZER_SERVICE_PORT_HTTP": "8080",
        "RIGHTSIZER_PORT": "tcp://10.0.0.7:8080",
        "RIGHTSIZER_PORT_8080_TCP": "tcp://10.0.0.7:8080",
        "RIGHTSIZER_PORT_8080_TCP_ADDR": "10.0.0.7",
    }
    assert from_environment({**URL, **service, "PATH": "/bin"}) == from_environment(URL)


def test_a_time_without_end_is_no_reason_to_stall() -> None:
    assert from_environment({**URL, "RIGHTSIZER_STALLED_AFTER_SECONDS": "inf"}).stalled_after_seconds == math.inf


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PROMETHEUS_URL", "http://other:9090"),
        ("PROMETHEUS_HEADERS", "X-Scope-OrgID=other"),
        ("PROMETHEUS_MATCHERS", 'cluster="west"'),
        ("PROMETHEUS_LABELS", "pod=pod_name"),
        ("PROMETHEUS_KUBE_STATE_LABELS", "pod=exported_pod"),
    ],
)
def test_what_decides_the_values_is_in_their_origin_without_being_readable(name: str, text: str) -> None:
    one, other = usage_origin(from_environment(URL)), usage_origin(from_environment({**URL, f"RIGHTSIZER_{name}": text}))
    assert {key for key in one if one[key] != other[key]} == {f"RIGHTSIZER_{name}"}
    assert text not in str(other)


@pytest.mark.parametrize(
    "changed",
    [
        {"RIGHTSIZER_PROMETHEUS_URL": "http://prometheus:9090/"},
        {"RIGHTSIZER_PROMETHEUS_HEADERS": "Authorization=Bearer renewed"},
        {"RIGHTSIZER_PROMETHEUS_BEARER_TOKEN_FILE": "/secrets/token"},
        {"RIGHTSIZER_PROMETHEUS_TIMEOUT_SECONDS": "5"},
        {"RIGHTSIZER_CYCLE_SECONDS": "15"},
    ],
)
def test_what_only_lets_in_or_paces_is_not_in_the_origin_of_the_values(changed: dict[str, str]) -> None:
    assert usage_origin(from_environment({**URL, **changed})) == usage_origin(from_environment(URL))


def test_a_user_name_may_stand_for_a_tenant() -> None:
    named = from_environment({**URL, **USERNAME, **PASSWORD})
    assert usage_origin(named) != usage_origin(from_environment(URL))
