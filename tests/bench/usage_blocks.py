"""Makes the usage history of a generated cluster once and keeps it in the cache, under a name that tells what it was made from.

The program that writes it is built when it is first needed, beside the testbed's programs and not with them: no test of the product
needs it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.generated import GeneratedCluster, read_cluster
from tests.testbed.binaries import cache_folder
from tests.testbed.errors import BuildError
from tests.testbed.pins import BUILD_TAGS, MODULES, needed_go_version
from tests.testbed.toolchain import find_go

MODULE = MODULES / "prometheus"
PACKAGE = "./cmd/usageblocks"

END = 20_393 * 86_400
"""2025-11-01, midnight UTC. A fixed day, so that a history that was made once is good for ever; the operator's clock is set to it."""

SCRAPE_SECONDS = 60
WORKERS = 2

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large the generated cluster is. `churn`: the share of pods that is replaced each day."""

    containers: int
    days: int = 14
    churn: float = 0.2
    most_replicas: int = 3
    seed: int = 1

    def flags(self) -> list[str]:
        return [
            f"-containers={self.containers}",
            f"-days={self.days}",
            f"-end={END}",
            f"-scrape={SCRAPE_SECONDS}",
            f"-churn={self.churn}",
            f"-replicas={self.most_replicas}",
            f"-seed={self.seed}",
        ]


def generated_cluster(size: Size, *, tell: Tell, cache: Path | None = None) -> GeneratedCluster:
    """From the cache, else made now. Raises BuildError where the program cannot be built or fails."""
    cache = cache or cache_folder()
    program = _program(cache, tell)
    digest = hashlib.sha256(" ".join([program.name, *size.flags()]).encode()).hexdigest()[:12]
    folder = cache / "bench" / "history" / f"{size.containers}-containers-{size.days}-days-{digest}"
    if not folder.is_dir():
        tell(f"writing the history of {size.containers:,} containers over {size.days} days (once)")
        _make(program, size, folder)
    return read_cluster(folder)


def _make(program: Path, size: Size, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        out, scratch = unfinished / "out", unfinished / "scratch"
        out.mkdir()
        scratch.mkdir()
        # Its progress goes to our standard error, line by line.
        command: list[str | Path] = [program, *size.flags(), f"-workers={WORKERS}", f"-out={out}"]
        done = subprocess.run(command, env={**os.environ, "TMPDIR": str(scratch)}, check=False)
        if done.returncode != 0:
            raise BuildError(f"usageblocks ended with {done.returncode}")
        out.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _program(cache: Path, tell: Tell) -> Path:
    program = cache / "bench" / f"usageblocks-{_source_digest()}"
    if os.access(program, os.X_OK):
        return program
    tell("building usageblocks (once)")
    program.parent.mkdir(parents=True, exist_ok=True)
    go = find_go(needed=needed_go_version(), cache=cache, tell=tell)
    # The same flags as the testbed's Prometheus, whose compiled packages are then taken from the compiler's cache.
    unfinished = program.with_name(f".{program.name}.{os.getpid()}")
    command: list[str | Path] = [
        go,
        "build",
        "-mod=readonly",
        "-trimpath",
        "-tags",
        BUILD_TAGS,
        "-ldflags",
        "-s -w",
        "-o",
        unfinished,
        PACKAGE,
    ]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    done = subprocess.run(command, cwd=MODULE, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"usageblocks was not built:\n{done.stderr.strip()[-2000:]}")
    unfinished.rename(program)
    return program


def _source_digest() -> str:
    digest = hashlib.sha256()
    for file in [MODULE / "go.mod", *sorted((MODULE / PACKAGE).glob("*.go"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
