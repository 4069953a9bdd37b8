"""`python3 -m tests.realnode`: a testbed with a real node to look around in, until Ctrl-C."""

from __future__ import annotations

import signal
import sys

from tests.realnode import RealNode, why_not
from tests.realnode.programs import build
from tests.testbed import Testbed, TestbedError
from tests.testbed.binaries import build as build_testbed


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell lets what it starts in the background ignore SIGINT
        signal.signal(number, signal.default_int_handler)
    reason = why_not()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    try:
        build_testbed()
        build()
        with Testbed.start() as bed, RealNode.start(bed) as node:
            print(f"{node.name} is ready; logs in {node.directory}\n")
            print(f"export KUBECONFIG={bed.kubeconfig}\nalias kubectl={bed.kubectl.binary}\n\nCtrl-C ends it.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("ended")
    except TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
