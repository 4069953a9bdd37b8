"""TLS on the way to Prometheus: whom we trust, who we say we are, and what is told where one side does not believe the other."""

from __future__ import annotations

import logging
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rightsizer.errors import InvalidSettings, UsageSourceUnreachable
from rightsizer.prometheus import Connection, Endpoint, connect
from rightsizer.settings import from_environment
from tests.prometheus_server import PrometheusServer, vector

FINE = vector(({}, "1"))


def new_certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate of 127.0.0.1; its key is beside it, in `NAME.key`."""
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
    subprocess.run([*request, *subject, *files], check=True, capture_output=True)
    return folder / f"{name}.crt"


def lock_key(folder: Path) -> None:
    """The key of `rightsizer`, encrypted, as `locked.key`."""
    files = ["-in", str(folder / "rightsizer.key"), "-out", str(folder / "locked.key")]
    subprocess.run(["openssl", "ec", "-aes256", "-passout", "pass:secret", *files], check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the certificates `prometheus`, `rightsizer` and `stranger`."""
    made = tmp_path_factory.mktemp("tls")
    for name in ("prometheus", "rightsizer", "stranger"):
        new_certificate(made, name)
    return made


@pytest.fixture
def certificate(folder: Path) -> Path:
    return folder / "prometheus.crt"


def server_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "prometheus.crt", folder / "prometheus.key")
    return context


@pytest.fixture
def secure_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrometheusServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with PrometheusServer(FINE, tls=server_context(folder)) as running:
        yield running


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
def strict_server(folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[PrometheusServer]:
    """Lets in who has the certificate `rightsizer`."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    context = server_context(folder)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(folder / "rightsizer.crt")
    context.maximum_version = request.param
    with PrometheusServer(FINE, tls=context) as running:
        yield running


def ask(url: str, **settings: object) -> list[float]:
    connection = Connection(Endpoint(url=url, retries=0, **settings))  # type: ignore[arg-type]
    try:
        answer = connection.ask("/api/v1/query", {"query": "up"}, kind="test")
        return [float(series.values[0]) for series in answer.series]
    finally:
        connection.close()


def test_a_certificate_of_nobody_we_trust(secure_server: PrometheusServer) -> None:
    with pytest.raises(UsageSourceUnreachable, match=r"no trusted TLS connection \(is a CA file needed\?\).*certificate verify failed"):
        ask(secure_server.url)
    assert secure_server.asked == []


def test_a_certificate_of_the_named_file(secure_server: PrometheusServer, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    assert ask(secure_server.url, ca_file=certificate) == [1]


def test_any_certificate_where_that_is_wanted(secure_server: PrometheusServer) -> None:
    # A warning would be an error here.
    assert ask(secure_server.url, verify=False) == [1]


def test_that_it_is_not_checked_is_told_once(secure_server: PrometheusServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rightsizer.prometheus.connection")
    ask(secure_server.url, verify=False)
    assert caplog.messages == [f"the certificate of {secure_server.url} is not checked"]


def test_a_ca_file_that_is_not_there(secure_server: PrometheusServer, tmp_path: Path) -> None:
    with pytest.raises(UsageSourceUnreachable, match="absent"):
        ask(secure_server.url, ca_file=tmp_path / "absent")


def test_a_ca_file_without_certificates(secure_server: PrometheusServer, tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("none")
    with pytest.raises(UsageSourceUnreachable, match=r"the CA file .*/ca holds no certificate \(PEM\): "):
        ask(secure_server.url, ca_file=tmp_path / "ca")


def test_a_client_certificate_by_the_settings(strict_server: PrometheusServer, folder: Path) -> None:
    names = {"CA": "prometheus.crt", "CLIENT_CERTIFICATE": "rightsizer.crt", "CLIENT_KEY": "rightsizer.key"}
    files = {f"RIGHTSIZER_PROMETHEUS_{name}_FILE": str(folder / file) for name, file in names.items()}
    source = connect(from_environment({"RIGHTSIZER_PROMETHEUS_URL": strict_server.url, **files}))
    source.loads(["shop"], at=0)
    source.close()
    assert len(strict_server.asked) == 1


def test_a_client_certificate_is_read_anew_for_each_connection(strict_server: PrometheusServer, folder: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    endpoint = Endpoint(
        url=strict_server.url, retries=0, ca_file=folder / "prometheus.crt", client_certificate_file=certificate, client_key_file=key
    )
    connection = Connection(endpoint)
    for name in ("stranger", "rightsizer"):
        certificate.write_bytes((folder / f"{name}.crt").read_bytes())
        key.write_bytes((folder / f"{name}.key").read_bytes())
        if name == "stranger":
            with pytest.raises(UsageSourceUnreachable):
                connection.ask("/api/v1/query", {"query": "up"}, kind="test")
    assert len(list(connection.ask("/api/v1/query", {"query": "up"}, kind="test").series)) == 1
    connection.close()


def test_files_that_cannot_be_used_are_the_fault_of_their_settings(folder: Path, tmp_path: Path) -> None:
    lock_key(folder)
    (tmp_path / "text").write_text("two\nlines")
    (tmp_path / "empty").touch()
    certificate, key = "CLIENT_CERTIFICATE_FILE", "CLIENT_KEY_FILE"
    for files, words in (
        ({"BEARER_TOKEN_FILE": tmp_path}, "cannot be read.*Is a directory"),
        ({"BEARER_TOKEN_FILE": tmp_path / "absent"}, "cannot be read.*No such file"),
        ({"BEARER_TOKEN_FILE": tmp_path / "empty"}, "is empty"),
        ({"BEARER_TOKEN_FILE": tmp_path / "text"}, "holds no token of one line"),
        ({"PASSWORD_FILE": tmp_path / "empty", "USERNAME": "me"}, "is empty"),
        ({"CA_FILE": tmp_path / "absent"}, "absent .*No such file"),
        ({"CA_FILE": tmp_path}, "Is a directory"),
        ({"CA_FILE": tmp_path / "text"}, "text holds no certificates to trust .*NO_CERTIFICATE_OR_CRL_FOUND"),
        ({certificate: folder / "rightsizer.crt", key: folder / "stranger.key"}, r"rightsizer\.crt and .*stranger\.key cannot be used"),
        ({certificate: folder / "rightsizer.key", key: folder / "rightsizer.crt"}, "cannot be used"),
        ({certificate: folder / "rightsizer.crt", key: folder / "locked.key"}, "cannot be used .*the key not encrypted"),
        ({certificate: tmp_path / "absent", key: folder / "rightsizer.key"}, "No such file"),
    ):
        name = next(iter(files))
        option = f"--prometheus-{name.lower().replace('_', '-')}"
        settings = {f"RIGHTSIZER_PROMETHEUS_{setting}": str(value) for setting, value in files.items()}
        with pytest.raises(InvalidSettings, match=rf"^RIGHTSIZER_PROMETHEUS_{name} \(or {option}\).*{words}"):
            connect(from_environment({"RIGHTSIZER_PROMETHEUS_URL": "https://127.0.0.1:1", **settings}))


@pytest.mark.parametrize(
    ("certificate_name", "key_name", "words"),
    [
        (None, None, r"the server ended the TLS connection \(does it ask for a client certificate\?\)"),
        ("stranger.crt", "stranger.key", r"the server ended the TLS connection \(does it trust our client certificate\?\)"),
        ("rightsizer.crt", "stranger.key", r"cannot be used \(do .*rightsizer\.crt and .*stranger\.key belong together"),
        ("rightsizer.key", "rightsizer.key", r"the client certificate and its key cannot be used"),
        ("rightsizer.crt", "locked.key", r"the client certificate and its key cannot be used.*encrypted"),
        ("absent.crt", "rightsizer.key", r"certificate file.*absent\.crt"),
        ("rightsizer.crt", "absent.key", r"key file.*absent\.key"),
    ],
)
def test_a_client_certificate_that_does_not_do(
    strict_server: PrometheusServer, folder: Path, certificate_name: str | None, key_name: str | None, words: str
) -> None:
    lock_key(folder)
    files = {"client_certificate_file": certificate_name, "client_key_file": key_name}
    with pytest.raises(UsageSourceUnreachable, match=words):
        ask(
            strict_server.url,
            ca_file=folder / "prometheus.crt",
            **{name: folder / file for name, file in files.items() if file is not None},
        )
    assert strict_server.asked == []
