"""The first act: recommendations from manifests and a history file, without any cluster, while the testbed is still being built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from demo.places import HISTORY, MANIFESTS, RIGHTSIZER, from_root
from demo.screen import DemoFailed, Screen
from tests.usage import demo_scenario
from tests.usage.history_file import write_csv

HISTORY_DAYS = 14
SECONDS_FOR_A_COMMAND = 120
WIDTH_OFF_TERMINAL = 140


def show(screen: Screen) -> None:
    """Writes the scenario's files and lets `rightsizer recommend` read them."""
    screen.heading("Without a cluster: manifests and a usage history are enough for a first look")
    with screen.step(f"writing the workloads to {from_root(MANIFESTS)}/"):
        write_manifests(MANIFESTS)
    with screen.step(f"writing {HISTORY_DAYS} days of their usage, replayed from public traces, to {from_root(HISTORY)}"):
        HISTORY.parent.mkdir(parents=True, exist_ok=True)
        write_csv(demo_scenario.workloads(), HISTORY, days=HISTORY_DAYS, until=time.time())
    screen.say(
        "Requests and limits of each container, as they are -> as they should be. Nothing is written anywhere.",
        "EVIDENCE is what this rule would have done over the container's own past: OOM kills, time above the request, changes a day,",
        "and the memory that it would have requested, compared with today.",
        "Such a history tells no OOM kill: thumbnails, which the kernel kills, will get more in the cluster.",
    )
    arguments = ("recommend", "--manifests", from_root(MANIFESTS), "--history", from_root(HISTORY))
    screen.shown(" ".join(("rightsizer", *arguments)), run_rightsizer(arguments))


def write_manifests(folder: Path) -> None:
    """One file per namespace, as a person would keep them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    by_namespace: dict[str, list[str]] = {}
    for manifest in demo_scenario.manifests():
        namespace = manifest["metadata"].get("namespace", manifest["metadata"]["name"])
        by_namespace.setdefault(namespace, []).append(yaml.safe_dump(manifest, sort_keys=False))
    for namespace, documents in by_namespace.items():
        (folder / f"{namespace}.yaml").write_text("---\n".join(documents), encoding="utf-8")


def run_rightsizer(arguments: Sequence[str], *, kubeconfig: Path | None = None) -> str:
    """What the command printed. Raises DemoFailed with its words when it failed."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_OFF_TERMINAL
    environment = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"}
    if kubeconfig is not None:
        environment["KUBECONFIG"] = str(kubeconfig)
    done = subprocess.run(
        [RIGHTSIZER, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=SECONDS_FOR_A_COMMAND
    )
    if done.returncode != 0:
        raise DemoFailed(f"`rightsizer {' '.join(arguments)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout
