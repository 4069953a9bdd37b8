"""Where the demo finds and leaves its files."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "demo"
MANIFESTS = BUILD / "manifests"
HISTORY = BUILD / "history.csv.gz"
OPERATOR_LOG = BUILD / "operator.log"
TRANSCRIPT = BUILD / "transcript.txt"
PROFILES = ROOT / "demo" / "profiles"
LIVE_PROFILES = ROOT / "demo" / "live" / "profiles.yaml"

RIGHTSIZER = Path(sys.executable).with_name("rightsizer")


def from_root(path: Path) -> str:
    """As a person in the project's folder would type it."""
    return str(path.relative_to(ROOT))
