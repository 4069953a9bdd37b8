"""Cuts the small set of real usage traces that the tests and the demo replay out of a larger collection.

Deterministic: the same source folder gives the same bytes, so that the subset can be made again and compared. It knows
which series are wanted and why they are kept; it does not look at values and changes none.

Usage: ``python tests/traces/subset.py SOURCE [DESTINATION]`` (the destination defaults to this folder).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import shutil
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

CHOSEN: dict[str, tuple[str, ...]] = {
    "operate-first-k8s.csv.gz": (
        # idle and nearly idle
        "tkn-cli-serve/*",
        "odh-dashboard/*",
        "github-receiver/*",
        "traefik-proxy/t0",
        "thanos-querier/*",
        # steady
        "grafana-deployment/*",
        "router-default/*",
        "vault/*",
        "haproxy/*",
        "deck/*",
        "thanos-ruler-user-workload/thanos-ruler/*",
        "machine-config-daemon/*",
        "seldon-model-example-0-classifier/*",
        "moc-nfs-democratic-csi-controller/*",
        # bursty
        "amun-api-2/*",
        "hook/*",
        "observatorium-thanos-compact/*",
        "pulp-api/*",
        "pulp-postgres/*",
        "pulp-operator-controller-manager/*",
        "olm-operator/*",
        "koku-metrics-controller-manager/*",
        "packageserver/*",
        "sdn/h1",
        # growing memory, level shifts
        "noobaa-operator/*",
        "rook-ceph-operator/*",
        "vector-balrog/*",
        "observatorium-thanos-query/*",
        "observatorium-thanos-store-shard-0/*",
        "observatorium-thanos-store-bucket-cache-memcached/*",
        "controller-manager/*",
        # heavy
        "operatorhubio-catalog/*",
        "kube-apiserver/h1",
        "odh-message-bus-kafka/*",
        "vector-smaug/*",
        # pods replaced during the time
        "cluster-logging-operator/*",
        "klusterlet-addon-policyctrl-config-policy/*",
        "klusterlet-registration-agent/*",
    ),
    "google-2011-job.csv.gz": (
        "job-3528532484",
        "job-3720276857",
        "job-3769731259",
        "job-3996529267",
        "job-4923136192",
        "job-4974862840",
        "job-5004831831",
        "job-5017010629",
        "job-5017087569",
        "job-5045115512",
        "job-5412407100",
        "job-5423595874",
        "job-5633010278",
        "job-5830450569",
        "job-5905890696",
        "job-6115112084",
        "job-259235987",
    ),
    "azure-v1-vm.csv.gz": ("vm-1099406", "vm-1239939", "vm-1760080", "vm-1985204", "vm-215591", "vm-942980"),
    "nezha-online-boutique.csv.gz": ("*",),
}
"""File -> patterns of the series kept from it."""

TERMS = (
    "LICENSE.azure-public-dataset.CC-BY-4.0.txt",
    "LICENSE.google-cluster-data.CC-BY-4.0.txt",
    "LICENSE.nezha.txt",
    "LICENSE.operate-first-k8s.txt",
    "TERMS.azure-v1.md",
    "TERMS.google-2011-job.repackager-readme.md",
    "TERMS.google-cluster-data-2011.md",
)


def is_chosen(file: str, series: str) -> bool:
    """Whether the series of that file belongs to the subset."""
    return any(fnmatchcase(series, pattern) for pattern in CHOSEN.get(file, ()))


def chosen_lines(lines: Iterable[str], *, file: str) -> list[str]:
    """The heading and the rows of the chosen series, as they are."""
    rows = iter(lines)
    return [next(rows), *(row for row in rows if is_chosen(file, row.partition(",")[0]))]


def write_compressed(path: Path, text: str) -> None:
    """Gzip without name and time, so that equal text gives equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=9, mtime=0) as out:
        out.write(text.encode())


def make_subset(source: Path, destination: Path) -> None:
    """Writes the chosen series, their lines of ``series.csv`` and the terms they come under."""
    destination.mkdir(parents=True, exist_ok=True)
    for file in CHOSEN:
        with gzip.open(source / file, "rt", encoding="utf-8") as lines:
            write_compressed(destination / file, "".join(chosen_lines(lines, file=file)))
    with (source / "series.csv").open(encoding="utf-8", newline="") as lines:
        heading, *rows = csv.reader(lines)
    with (destination / "series.csv").open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([heading, *(row for row in rows if is_chosen(row[0], row[1]))])
    for name in TERMS:
        shutil.copyfile(source / name, destination / name)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("source", type=Path, help="folder of the collection")
    arguments.add_argument("destination", type=Path, nargs="?", default=Path(__file__).resolve().parent)
    chosen = arguments.parse_args()
    make_subset(chosen.source, chosen.destination)


if __name__ == "__main__":
    main()
