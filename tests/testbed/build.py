"""`python3 -m tests.testbed.build`: builds the binaries, or says with `--where` in which folder they are."""

from __future__ import annotations

import argparse
import sys

from tests.testbed.binaries import binaries_folder, build, build_usage_servers, missing_binaries
from tests.testbed.errors import BuildError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tests.testbed.build", description=__doc__)
    parser.add_argument("--where", action="store_true", help="only print the folder of the binaries; 1 when not built")
    where = parser.parse_args().where
    try:
        folder = binaries_folder() if where else build()
        if not where:
            build_usage_servers()
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: the next build goes on from here", file=sys.stderr)
        return 130
    print(folder)
    return 1 if where and missing_binaries(folder) else 0


if __name__ == "__main__":
    sys.exit(main())
