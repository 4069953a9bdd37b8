"""The testbed's binaries are built once, whole, from where an interrupted build stopped; shown with a stand-in for Go."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.testbed import Testbed
from tests.testbed.binaries import (
    binaries_folder,
    build,
    build_usage_servers,
    build_with_prometheus_2,
    cache_folder,
    usage_servers_folder,
    victoria_metrics,
)
from tests.testbed.credentials import signing_key
from tests.testbed.errors import BuildError, NotProvided
from tests.testbed.pins import BINARIES, PROMETHEUS_2, USAGE_SERVERS, prometheus_release, required_version
from tests.testbed.toolchain import parse_go_version

FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.99.0; exit 0; fi
for last; do :; done
echo "$last" >> "$BUILT"
case "$last" in *"$BROKEN") echo "cannot compile $last"; exit 1;; esac
while [ "$1" != -o ]; do shift; done
sleep 0.05; echo binary > "$2"; chmod +x "$2"
"""


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `go` first on the PATH that builds at once; returns the file where it notes what it was asked to build."""
    go, built = tmp_path / "bin" / "go", tmp_path / "built"
    go.parent.mkdir()
    go.write_text(FAKE_GO)
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{go.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("RIGHTSIZER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BUILT", str(built))
    monkeypatch.setenv("BROKEN", "nothing-is-broken")
    monkeypatch.delenv("RIGHTSIZER_TESTBED_ASSETS", raising=False)
    return built


ALL_PACKAGES = [binary.package for binary in BINARIES]


def test_build_makes_every_binary_once(fake_go: Path) -> None:
    folder = build()
    assert build() == folder
    assert fake_go.read_text().split() == ALL_PACKAGES
    assert {path.name for path in folder.iterdir()} == {".lock", *(binary.name for binary in BINARIES)}


def test_failed_build_says_why_and_the_next_goes_on_from_there(fake_go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", "cmd/kube-scheduler")
    with pytest.raises(BuildError, match=r"(?s)kube-scheduler was not built.*cannot compile"):
        build()
    monkeypatch.setenv("BROKEN", "nothing-is-broken")
    build()
    assert fake_go.read_text().split() == [*ALL_PACKAGES[:4], *ALL_PACKAGES[3:]]


def test_start_without_binaries_says_how_to_build_them(fake_go: Path) -> None:
    with pytest.raises(BuildError, match="run `make testbed` first"):
        Testbed.start()
    assert not fake_go.exists()


def test_two_builds_at_once_build_once(fake_go: Path) -> None:
    builders = [threading.Thread(target=build) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert fake_go.read_text().split() == ALL_PACKAGES


def test_prebuilt_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    for binary in BINARIES:
        (tmp_path / binary.name).touch(mode=0o755)
    assert binaries_folder({"RIGHTSIZER_TESTBED_ASSETS": str(tmp_path)}) == tmp_path


def test_prebuilt_folder_that_lacks_binaries_is_refused_by_their_names(tmp_path: Path) -> None:
    for binary in BINARIES:
        if binary.name not in ("etcd", "kwok"):
            (tmp_path / binary.name).touch(mode=0o755)
    with pytest.raises(BuildError, match="lacks etcd, kwok"):
        binaries_folder({"RIGHTSIZER_TESTBED_ASSETS": str(tmp_path)})


def test_usage_servers_are_built_once_and_apart(fake_go: Path) -> None:
    with pytest.raises(BuildError, match=r"victoria-metrics missing in .*: run `make testbed` first"):
        victoria_metrics()
    build_usage_servers()
    build_usage_servers()
    assert fake_go.read_text().split() == [binary.package for binary in USAGE_SERVERS]
    assert victoria_metrics() == usage_servers_folder() / "victoria-metrics"
    assert usage_servers_folder() != binaries_folder()


def test_a_prebuilt_folder_may_lack_the_usage_servers(fake_go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGHTSIZER_TESTBED_ASSETS", str(tmp_path))
    build_usage_servers()
    assert not fake_go.exists()
    with pytest.raises(NotProvided, match=f"RIGHTSIZER_TESTBED_ASSETS={tmp_path} has no victoria-metrics"):
        victoria_metrics()
    (tmp_path / "victoria-metrics").touch(mode=0o755)
    assert victoria_metrics() == tmp_path / "victoria-metrics"


def test_prometheus_2_stands_in_the_place_of_the_newest_beside_the_same_control_plane(fake_go: Path) -> None:
    newest = build()
    folder = build_with_prometheus_2()
    assert build_with_prometheus_2() == folder
    assert fake_go.read_text().split() == [*ALL_PACKAGES, *(binary.package for binary in PROMETHEUS_2)]
    assert binaries_folder({"RIGHTSIZER_TESTBED_ASSETS": str(folder)}) == folder
    own = {binary.name for binary in PROMETHEUS_2}
    for name in (binary.name for binary in BINARIES):
        assert (folder / name).resolve().parent == (folder if name in own else newest)


def test_prometheus_2_follows_the_rest_of_the_testbed(fake_go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build_with_prometheus_2()
    prebuilt = tmp_path / "prebuilt"
    build().rename(prebuilt)
    monkeypatch.setenv("RIGHTSIZER_TESTBED_ASSETS", str(prebuilt))
    assert build_with_prometheus_2() == folder
    assert (folder / "etcd").resolve() == prebuilt / "etcd"


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"RIGHTSIZER_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, Path("/own")),
        ({"XDG_CACHE_HOME": "/xdg"}, Path("/xdg/rightsizer")),
        ({}, Path.home() / ".cache" / "rightsizer"),
    ],
)
def test_cache_folder(environment: dict[str, str], folder: Path) -> None:
    assert cache_folder(environment) == folder


@pytest.mark.parametrize(
    ("text", "version"),
    [("go1.26.8\n", (1, 26, 8)), ("go1.27", (1, 27, 0)), ("go1.26rc1", (1, 26, 0)), ("devel +abc", (0, 0, 0))],
)
def test_go_version(text: str, version: tuple[int, int, int]) -> None:
    assert parse_go_version(text) == version


def test_versions_of_go_modules() -> None:
    go_mod = "require k8s.io/kubernetes v1.36.3\n\nrequire (\n\tk8s.io/kubernetes-x v0.1.0 // indirect\n)\n"
    assert required_version(go_mod, "k8s.io/kubernetes") == "v1.36.3"
    assert required_version(go_mod, "k8s.io/kubernetes-x") == "v0.1.0"
    with pytest.raises(ValueError, match="does not require"):
        required_version(go_mod, "k8s.io/other")
    assert [prometheus_release(version) for version in ("v0.315.0", "v0.302.1", "v0.45.6")] == ["3.15.0", "3.2.1", "2.45.6"]
    with pytest.raises(ValueError, match="not a version"):
        prometheus_release("v1.2.3")


def test_signing_keys_differ() -> None:
    assert signing_key() != signing_key()
