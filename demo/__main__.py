"""`python -m demo`: tells the story from the first numbers to the last rollout, then stays up; with CI=true it checks and ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack

from demo import building, cluster, clusterless, results, strategies
from demo.ending import check, look_around
from demo.places import OPERATOR_LOG, TRANSCRIPT, from_root
from demo.screen import DemoFailed, Screen
from demo.showing import Stage, show_cost, show_results, wait_for_results
from rightsizer.errors import RightsizerError
from tests.testbed import TestbedError
from tests.usage.blocks import HistoryLoadError

LINES_OF_LOG = 15


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell lets what it starts in the background ignore SIGINT
        signal.signal(number, signal.default_int_handler)
    screen = Screen(TRANSCRIPT)
    try:
        return _play(screen, ends_by_itself=_is_set(os.environ, "CI"))
    except KeyboardInterrupt:
        screen.line()
        screen.say("Interrupted; everything is gone.")
        return 130
    except (DemoFailed, TestbedError, HistoryLoadError, RightsizerError) as error:
        _tell_failure(screen, error)
        return 1


def _is_set(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "").lower() in ("1", "true", "yes")


def _play(screen: Screen, *, ends_by_itself: bool) -> int:
    with building.building() as build:
        clusterless.show(screen)
        building.wait_for(build, screen)
    with ExitStack() as stack:
        bed = cluster.start(stack, screen)
        cluster.install(bed, screen)
        stage = Stage(bed)
        before = results.by_key(stage.workloads())
        meter = cluster.start_operator(bed, screen)
        screen.heading("Two profiles: one only recommends, one applies")
        cluster.apply_profiles(bed, screen)
        scene, backfill = wait_for_results(stage, meter, screen)
        show_results(stage, scene, before, screen)
        measuring = show_cost(meter, backfill, scene, screen)
        changed = strategies.show(bed, screen)
        if ends_by_itself:
            return check(scene, before, measuring, changed, screen)
        return look_around(bed, screen)


def _tell_failure(screen: Screen, error: Exception) -> None:
    screen.line()
    screen.verdict(str(error), good=False)
    if not OPERATOR_LOG.exists():
        return
    last = OPERATOR_LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES_OF_LOG:]
    screen.say(f"The end of the operator's log, {from_root(OPERATOR_LOG)}:", *last)
    screen.say("RIGHTSIZER_TESTBED_KEEP=1 keeps the logs of the cluster, too.")


if __name__ == "__main__":
    sys.exit(main())
