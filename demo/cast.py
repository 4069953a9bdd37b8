"""The workloads of the demo and what each of them shows, in the order in which they are told."""

from __future__ import annotations

SHOWS = {
    "web": "the worked example: always 180m and 320Mi",
    "frontend": "daily rhythm",
    "catalog": "an autoscaler (HPA) aims at its CPU request",
    "payments": "Guaranteed: stays so",
    "thumbnails": "OOM-killed at its limit of 256Mi: at least + 100Mi",
    "docs": "idle",
    "checkout": "steady, and paused by annotation",
    "database": "StatefulSet that requests less than it uses",
    "node-agent": "DaemonSet with a native sidecar",
    "reports": "bursty",
    "sessions": "leaking memory",
    "indexer": "heavy: uses twice what it requests",
    "preview": "new: six hours of history",
}

PAUSED = ("shop", "checkout")
SCALED_ON_CPU = ("shop", "catalog")
KILLED = ("shop", "thumbnails")
KILLED_LIMIT = "356Mi"  # the limit at which it was killed + 100Mi: it gets at least that
YOUNG = "preview"
EXAMPLE = ("shop", "web")
EXAMPLE_SIZES = {"requests": {"cpu": "216m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}
