"""Builds the testbed's binaries from pinned Go modules into a cache, once.

Runs before anything else is installed, so it must not import more than the standard library.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.testbed.errors import BuildError, NotProvided
from tests.testbed.pins import (
    BINARIES,
    BUILD_TAGS,
    KUBELET,
    MODULES,
    NODE_PROGRAMS,
    PROMETHEUS_2,
    USAGE_SERVERS,
    VICTORIA_METRICS,
    Binary,
    cache_key,
    linker_flags,
    needed_go_version,
)
from tests.testbed.toolchain import find_go

ASSETS_VARIABLE = "RIGHTSIZER_TESTBED_ASSETS"
CACHE_VARIABLE = "RIGHTSIZER_CACHE"

# Off a terminal (CI), a long step says that it is alive this often.
SECONDS_BETWEEN_SIGNS_OF_LIFE = 30.0


def binaries_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds, or will hold, the binaries: the named prebuilt one, else the one of the cache.

    Raises BuildError when a prebuilt folder is named and lacks a binary.
    """
    named = environment.get(ASSETS_VARIABLE)
    if not named:
        return cache_folder(environment) / "testbed" / cache_key()
    absent = missing_binaries(Path(named))
    if absent:
        raise BuildError(
            f"{ASSETS_VARIABLE}={named} lacks {', '.join(binary.name for binary in absent)}: "
            f"the folder must hold {', '.join(binary.name for binary in BINARIES)}"
        )
    return Path(named)


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    named = environment.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rightsizer"


def usage_servers_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of the usage servers that only some tests need: the named prebuilt one, else the one of the cache."""
    named = environment.get(ASSETS_VARIABLE)
    return Path(named) if named else cache_folder(environment) / "testbed" / cache_key(USAGE_SERVERS)


def victoria_metrics(environment: Mapping[str, str] = os.environ) -> Path:
    """The program. Raises NotProvided where a prebuilt folder is named that lacks it, BuildError where it is not built."""
    return _one_of(usage_servers_folder(environment), VICTORIA_METRICS, environment)


def node_programs_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of the kubelet: the named prebuilt one, else the one of the cache."""
    named = environment.get(ASSETS_VARIABLE)
    return Path(named) if named else cache_folder(environment) / "testbed" / cache_key(NODE_PROGRAMS)


def kubelet(environment: Mapping[str, str] = os.environ) -> Path:
    """The program. Raises NotProvided where a prebuilt folder is named that lacks it, BuildError where it is not built."""
    return _one_of(node_programs_folder(environment), KUBELET, environment)


def _one_of(folder: Path, binary: Binary, environment: Mapping[str, str]) -> Path:
    if not missing_binaries(folder, (binary,)):
        return folder / binary.name
    if environment.get(ASSETS_VARIABLE):
        raise NotProvided(f"{ASSETS_VARIABLE}={folder} has no {binary.name}")
    raise BuildError(f"the testbed is not built ({binary.name} missing in {folder}): run `make testbed` first")


def missing_binaries(folder: Path, binaries: tuple[Binary, ...] = BINARIES) -> list[Binary]:
    return [binary for binary in binaries if not os.access(folder / binary.name, os.X_OK)]


def built_binaries() -> Path:
    """The folder of the binaries when all are there; raises BuildError that says how to build them when not.

    For tests: a build of minutes must not start in the middle of one.
    """
    folder = binaries_folder()
    absent = missing_binaries(folder)
    if absent:
        names = ", ".join(binary.name for binary in absent)
        raise BuildError(f"the testbed is not built ({names} missing in {folder}): run `make testbed` first")
    return folder


def build() -> Path:
    """Builds what is missing and returns the folder of the binaries. Waits while another build runs.

    Raises BuildError with the compiler's words; what was finished before stays and is not built again.
    """
    folder = binaries_folder()
    _build_all(folder, BINARIES, about="15 minutes")
    return folder


def build_usage_servers() -> None:
    """The same for the usage servers; where a prebuilt folder is named, nothing is built. Raises BuildError."""
    if not os.environ.get(ASSETS_VARIABLE):
        _build_all(usage_servers_folder(), USAGE_SERVERS, about="a minute")


def build_node_programs() -> None:
    """The same for the kubelet of a real node; where a prebuilt folder is named, nothing is built. Raises BuildError."""
    if not os.environ.get(ASSETS_VARIABLE):
        _build_all(node_programs_folder(), NODE_PROGRAMS, about="half a minute")


def build_with_prometheus_2() -> Path:
    """The same as `build`, but of a folder with the oldest Prometheus instead: to be named as the prebuilt one. Raises BuildError."""
    newest = build()
    folder = cache_folder() / "testbed" / cache_key(PROMETHEUS_2)
    _build_all(folder, PROMETHEUS_2, about="3 minutes")
    for name in {binary.name for binary in BINARIES} - {binary.name for binary in PROMETHEUS_2}:
        _link(folder / name, to=newest / name)
    return folder


def _link(link: Path, *, to: Path) -> None:
    if not link.is_symlink() or link.readlink() != to:
        link.unlink(missing_ok=True)
        link.symlink_to(to)


def _build_all(folder: Path, binaries: tuple[Binary, ...], *, about: str) -> None:
    if not missing_binaries(folder, binaries):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _only_builder(folder):
        _build_missing(folder, binaries, about=about)


def _build_missing(folder: Path, binaries: tuple[Binary, ...], *, about: str) -> None:
    absent = missing_binaries(folder, binaries)
    if not absent:
        return
    started = time.monotonic()
    _tell(f"building the testbed into {folder} (once; about {about} on two cores, {len(absent)} program{'s'[: len(absent) > 1]})")
    go = find_go(needed=needed_go_version(), cache=cache_folder(), tell=_tell)
    flags = linker_flags(binaries)
    for number, binary in enumerate(binaries, start=1):
        if binary in absent:
            _build_one(go, binary, folder, f"[{number}/{len(binaries)}] {binary.name}", flags=flags)
    _tell(f"testbed built in {_elapsed(started)}")


def _build_one(go: Path, binary: Binary, folder: Path, title: str, *, flags: str) -> None:
    """Builds under a temporary name, so that a file with the final name is always whole."""
    unfinished = folder / f".{binary.name}.unfinished"
    command: list[str | Path] = [go, "build", "-mod=readonly", "-trimpath", "-tags", BUILD_TAGS, "-ldflags", flags]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [*command, "-o", unfinished, binary.package],
            cwd=MODULES / binary.module,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            _follow(process, title)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            said.seek(0)
            raise BuildError(f"{title} was not built:\n{_last_lines(said.read())}")
    unfinished.rename(folder / binary.name)


def _follow(process: subprocess.Popen[bytes], title: str) -> None:
    started = told = time.monotonic()
    on_terminal = sys.stderr.isatty()
    _tell(f"{title} ...", end="" if on_terminal else "\n")
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.0)
            break
        if on_terminal:
            _tell(f"\r{title} ... {_elapsed(started)}", end="")
        elif time.monotonic() - told > SECONDS_BETWEEN_SIGNS_OF_LIFE:
            told = time.monotonic()
            _tell(f"{title} ... {_elapsed(started)}")
    outcome = _elapsed(started) if process.returncode == 0 else "failed"
    _tell(f"\r{title} ... {outcome}" if on_terminal else f"{title}: {outcome}")


@contextlib.contextmanager
def _only_builder(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell("another build of the testbed is running: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _tell(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


def _elapsed(started: float) -> str:
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    return f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-20:])
