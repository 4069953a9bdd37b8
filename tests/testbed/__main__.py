"""`python3 -m tests.testbed`: a testbed to look around in, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time

from tests.testbed import Testbed, TestbedError
from tests.testbed.binaries import build


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell lets what it starts in the background ignore SIGINT
        signal.signal(number, signal.default_int_handler)
    try:
        build()
        started = time.monotonic()
        with Testbed.start(prometheus=True) as bed:
            print(f"ready after {time.monotonic() - started:.1f} s; logs in {bed.directory}\n")
            print(f"export KUBECONFIG={bed.kubeconfig}\nalias kubectl={bed.kubectl.binary}\n")
            print(f"API server  {bed.api_url}\nPrometheus  {bed.prometheus_url}\n\nCtrl-C ends it.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("ended")
    except TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
