"""Where the programs of a real node come from: the kubelet is built, the rest is unpacked from packages of the distribution.

Unpacked, not installed: nothing of the machine changes, no service is started, and a container engine that is there stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.binaries import build_node_programs, cache_folder, kubelet
from tests.testbed.errors import BuildError, TestbedError

PACKAGES = ("containerd", "runc", "busybox-static")
_NEEDED = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "busybox")
_FOLDERS = ("usr/bin", "usr/sbin", "bin", "sbin")


class NoPackages(TestbedError):
    """The distribution's packages could not be had; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Programs:
    """What a node is run with. `packages` is the folder that the packages were unpacked into."""

    kubelet: Path
    packages: Path

    @property
    def search_path(self) -> str:
        """A PATH on which containerd finds its shim and runc; those of the machine come last."""
        return os.pathsep.join([*(str(self.packages / folder) for folder in _FOLDERS), os.environ.get("PATH", os.defpath)])

    @property
    def busybox(self) -> Path:
        found = shutil.which("busybox", path=self.search_path)
        assert found is not None, "checked when it was unpacked"
        return Path(found)


def built_programs() -> Programs:
    """All of them. Raises NotProvided or BuildError for the kubelet, NoPackages for the rest."""
    return Programs(kubelet(), _unpacked())


def build() -> Programs:
    """Makes what is missing. Raises BuildError, NotProvided, NoPackages."""
    folder = packages_folder()
    if _missing(folder):
        _unpack(folder)
    build_node_programs()
    return built_programs()


def packages_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """By release of the distribution, as another one may lack the libraries."""
    return cache_folder(environment) / "node" / "-".join([_release(Path("/etc/os-release")), *PACKAGES])


def _release(file: Path) -> str:
    lines = file.read_text().splitlines() if file.is_file() else []
    fields = {name: text.strip('"') for name, _, text in (line.partition("=") for line in lines)}
    return f"{fields.get('ID', 'unknown')}-{fields.get('VERSION_ID', 'rolling')}"


def _unpacked() -> Path:
    folder = packages_folder()
    absent = _missing(folder)
    if absent:
        raise NoPackages(f"{', '.join(absent)} not unpacked: run `make testbed`, which says what is in its way")
    return folder


def _missing(folder: Path) -> list[str]:
    path = os.pathsep.join(str(folder / part) for part in _FOLDERS)
    return [name for name in _NEEDED if shutil.which(name, path=path) is None]


def _unpack(folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NoPackages("no apt-get and dpkg-deb: the node's container runtime is taken from Debian's packages")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        unfinished = Path(name)
        _download(unfinished)
        for package in unfinished.glob("*.deb"):
            _run("dpkg-deb", "-x", str(package), str(unfinished / "unpacked"), directory=unfinished)
        absent = _missing(unfinished / "unpacked")
        if absent:
            raise NoPackages(f"{', '.join(absent)} not in the packages {', '.join(PACKAGES)}")
        with contextlib.suppress(OSError):  # another one was faster, and did the same
            (unfinished / "unpacked").rename(folder)


def _download(folder: Path) -> None:
    try:
        _run("apt-get", "download", *PACKAGES, directory=folder)
    except NoPackages:  # a fresh machine has no lists yet, or old ones
        _run("apt-get", "update", directory=folder)
        _run("apt-get", "download", *PACKAGES, directory=folder)


def _run(*command: str, directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise NoPackages(f"{' '.join(command)} failed: {last}")


__all__ = ["BuildError", "NoPackages", "Programs", "build", "built_programs", "packages_folder"]
