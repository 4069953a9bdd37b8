"""`python3 -m tests.realnode.build`: makes what a real node needs, or says in one line why there will be none."""

from __future__ import annotations

import sys

from tests.realnode import programs
from tests.realnode.possible import why_not
from tests.testbed.errors import BuildError, NotProvided


def main() -> int:
    reason = why_not()
    try:
        if reason is None:
            programs.build()
    except (programs.NoPackages, NotProvided) as error:
        reason = str(error)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: the next build goes on from here", file=sys.stderr)
        return 130
    if reason is not None:
        print(f"no real node, its tests will be skipped: {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
