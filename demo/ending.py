"""The end of the demo: a check of what it promised, or a cluster to look around in."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping

from demo import cost, strategies
from demo.cluster import OPERATOR
from demo.cost import Cost
from demo.places import OPERATOR_LOG, RIGHTSIZER, from_root
from demo.results import Key, Manifest, Scene, findings
from demo.screen import Screen
from demo.strategies import Changed
from tests.testbed import Testbed, TestbedError

SECONDS_BETWEEN_LOOKS = 1.0


def check(scene: Scene, before: Mapping[Key, Manifest], measuring: Cost, changed: Changed, screen: Screen) -> int:
    """Tells each promise and whether it was kept; 0 when all were, else 1."""
    screen.heading("Is it what it should be?")
    found = [*findings(scene, before), *cost.findings(measuring, scene.recommendations), *strategies.findings(changed)]
    for finding in found:
        screen.verdict(finding.text, good=finding.holds)
    return 0 if all(finding.holds for finding in found) else 1


def look_around(bed: Testbed, screen: Screen) -> int:
    """Says how, and waits for Ctrl-C. 1 where the operator ended before, which is told when it happens, else 0."""
    screen.heading("It stays up until Ctrl-C. In another terminal:")
    screen.say(
        f"export KUBECONFIG={bed.kubeconfig}",
        f"alias kubectl={bed.kubectl.binary} rightsizer={RIGHTSIZER}",
        "",
        f"Prometheus:          {bed.prometheus_url}",
        f"the operator's log:  tail -f {from_root(OPERATOR_LOG)}",
        "",
        "# more room for memory: within seconds the shop is rolled again",
        'kubectl patch rp shop -n shop --type=merge -p \'{"spec":{"memory":{"buffer":"60%"}}}\'',
        "kubectl get rr -n shop --watch",
        "",
        "# checkout is paused: let it go",
        "kubectl annotate deployment checkout -n shop rightsizer.dev/paused-",
        "",
        "# kill a container for its memory: the recommendation rises when the 5-minute slot has ended",
        "pod=$(kubectl get pod -n shop -l app=docs -o name)",
        "kubectl annotate -n shop $pod testbed.rightsizer.dev/oom=app",
        "",
        "# the rule beside others over the past of every container, as a page for a browser",
        f"rightsizer backtest -A --prometheus-url {bed.prometheus_url} --rule vpa --rule p95+20 -o html > page.html",
        "",
        "# what a change did, and the values before it; and have it taken back",
        "rightsizer history deploy/web -n shop",
        "rightsizer revert deploy/web -n shop",
    )
    code = _wait(bed, screen)
    screen.line()
    screen.say("Everything is stopped and gone.")
    return code


def _wait(bed: Testbed, screen: Screen) -> int:
    code = 0
    try:
        _watch_operator(bed, screen)
        code = 1
        signal.pause()
    except KeyboardInterrupt:
        pass
    return code


def _watch_operator(bed: Testbed, screen: Screen) -> None:
    """Returns when it has ended. In a cluster, its Deployment would start it again; here nobody does."""
    while True:
        try:
            bed.processes.check_alive(OPERATOR)
        except TestbedError as error:
            ending, *log = str(error).splitlines()
            screen.line()
            screen.verdict(f"The {ending}".rstrip(":"), good=False)
            screen.say("The end of its log:", *log, "Nothing is sized any more; the rest stays up until Ctrl-C.")
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)
