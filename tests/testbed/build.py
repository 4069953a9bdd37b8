"""`python3 -m tests.testbed.build`: builds the binaries, or says with `--where` in which folder they are.

With `--prometheus-2` it builds a folder that has the oldest Prometheus that is promised to work in the place of the newest.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.testbed.binaries import binaries_folder, build, build_usage_servers, build_with_prometheus_2, missing_binaries
from tests.testbed.errors import BuildError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tests.testbed.build", description=__doc__)
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--where", action="store_true", help="only print the folder of the binaries; 1 when not built")
    one.add_argument("--prometheus-2", action="store_true", help="with the oldest Prometheus instead of the newest")
    options = parser.parse_args()
    try:
        folder = _folder(options)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: the next build goes on from here", file=sys.stderr)
        return 130
    print(folder)
    return 1 if options.where and missing_binaries(folder) else 0


def _folder(options: argparse.Namespace) -> Path:
    if options.where:
        return binaries_folder()
    if options.prometheus_2:
        return build_with_prometheus_2()
    folder = build()
    build_usage_servers()
    return folder


if __name__ == "__main__":
    sys.exit(main())
