"""The running operator: builds the adapters, runs cycles in a thread, and lets kopf tell when a profile changed.

kopf watches our own profiles and nothing else: no timers, no finalizers, no annotations, nothing written by it. A missed event costs at
most the time until the next cycle. kopf ends the process when its API trouble is beyond repair; Kubernetes starts it again.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import kopf

from rightsizer import __version__, prometheus
from rightsizer.cluster import connect
from rightsizer.cycle import Cycle, CycleReport, Measuring
from rightsizer.cycle.measuring import NewHistory, Progress, ReadingLimits
from rightsizer.errors import RightsizerError, Stopped
from rightsizer.history import History
from rightsizer.metrics import CycleFigures, Health, HealthServer, OperatorMetrics
from rightsizer.settings import Settings, usage_origin
from rightsizer.stopping import Stopping

logger = logging.getLogger(__name__)

GROUP, VERSION = "rightsizer.dev", "v1alpha1"
PLURALS = ("resourceprofiles", "clusterresourceprofiles")

QUIET_SECONDS = 0.5
"""After a profile changed, so long is waited for more: `kubectl apply` of several files is one cycle."""


CALL_ENDS_SECONDS = 5.0
"""So long a call that is under way may take to end, once the operator was told to stop. The grace period of its pod is 60 s."""


class EndlessBackoff:
    """Waits between kopf's tries: growing to a minute, jittered, without end. By default kopf gives up after 54 s."""

    def __iter__(self) -> Iterator[float]:
        seconds = 1.0
        while True:
            yield seconds * random.uniform(0.5, 1.5)
            seconds = min(seconds * 2, 60.0)


class SystemClock:
    """Implements `ports.Clock`."""

    def now(self) -> float:
        return time.time()


class Loop:
    """Runs cycles in a thread of its own, one after the other; `wake` asks for an early one, `stop` ends the running one.

    `stop` sets `stopping`, on which no call begins any more; calls under way have CALL_ENDS_SECONDS, and are cut then.
    """

    def __init__(
        self,
        cycle: Cycle,
        measuring: Measuring,
        metrics: OperatorMetrics,
        health: Health,
        *,
        cycle_seconds: float,
        stopping: Stopping | None = None,
    ) -> None:
        self._cycle = cycle
        self._measuring = measuring
        self._metrics = metrics
        self._health = health
        self._cycle_seconds = cycle_seconds
        self._woken = threading.Event()
        self._stopping = stopping or Stopping()
        self._thread = threading.Thread(target=self._run, name="cycles", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join(CALL_ENDS_SECONDS)
            self._stopping.cut()
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            unread = self._once()
            # As long as there is a past to be read, one portion follows the other.
            rest = 0.0 if unread else self._cycle_seconds - (time.monotonic() - started)
            if self._woken.wait(max(rest, 0.0)) and not self._stopping.wait(QUIET_SECONDS):
                self._woken.clear()

    def _once(self) -> bool:
        """One cycle. Answers whether its time was up before all was read."""
        started = time.monotonic()
        try:
            report = self._cycle.run()
        except Stopped:
            logger.info("the cycle ended early, as the operator is being stopped")
        except RightsizerError as error:
            logger.warning("the cycle ended early: %s", error)
            self._metrics.cycle_failed()
        except Exception:  # the edge of the loop: a fault in one cycle must not end the next ones
            logger.exception("the cycle failed: this is a fault of Rightsizer, please report it")
            self._metrics.cycle_failed()
        else:
            self._health.progress()
            self._count(report, seconds=time.monotonic() - started)
            return report.unread
        return False

    def _count(self, report: CycleReport, *, seconds: float) -> None:
        history = self._measuring.history
        self._metrics.cycle_ended(
            CycleFigures(
                seconds=seconds,
                at=time.time(),
                workloads=report.states,
                reasons=report.reasons,
                changes=report.changed,
                reversals=report.reverted,
                failed_workloads=report.failed,
                troubled_namespaces=report.troubled_namespaces,
                history_containers=len(history),
                history_bytes=history.size,
                history_read=report.read,
                questions_halved=report.questions_halved,
                questions_failed=report.questions_failed,
                proved_containers=report.proved_containers,
                proving_seconds=report.proving_seconds,
            )
        )
        _tell(report, seconds=seconds)


def _tell(report: CycleReport, *, seconds: float) -> None:
    # A cycle between two slots of a settled cluster has nothing to say.
    news = report.questions_answered or report.questions_failed or report.changed or report.failed
    logger.log(
        logging.INFO if news else logging.DEBUG,
        "cycle of %.2f s: %d workloads, %d changed, %d failed, %d answers of the usage source",
        seconds,
        report.workloads,
        report.changed,
        report.failed,
        report.questions_answered,
    )


class ProfileWatch:
    """Tells an event that matters from the echo of our own status writes, by uid and generation."""

    def __init__(self) -> None:
        self._generations: dict[str, int] = {}

    def matters(self, kind: str | None, metadata: Mapping[str, Any]) -> bool:
        uid, generation = str(metadata.get("uid")), int(metadata.get("generation") or 0)
        if kind == "DELETED":
            self._generations.pop(uid, None)
            return True
        known = self._generations.get(uid)
        self._generations[uid] = generation
        return known != generation


def run(settings: Settings, *, kubeconfig: str | None = None) -> None:
    """Run until SIGTERM or SIGINT.

    Raises InvalidSettings, or ClusterUnreachable where no kubeconfig can be used, before anything is started.
    """
    if kubeconfig is not None:
        # kopf reads it from there only.
        os.environ["KUBECONFIG"] = kubeconfig
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if settings.log_level != "debug":
        # Its line for each event that was handled would be one for each of our own status writes.
        logging.getLogger("kopf").setLevel(logging.WARNING)
    metrics = OperatorMetrics()
    health = Health(stalled_after_seconds=settings.stalled_after_seconds, clock=time.monotonic)
    stopping = Stopping()
    source = prometheus.connect(settings, on_request=metrics.usage_source_request, stopping=stopping)
    cluster = connect(kubeconfig, None, on_request=metrics.api_request, stopping=stopping)
    measuring = Measuring(
        source,
        cluster,
        new_history=_new_history(settings),
        limits=ReadingLimits(at_once=settings.prometheus_queries_at_once),
        progress=_progress_to(health),
        stopping=stopping.is_set,
        sleep=stopping.wait,
    )
    cycle = Cycle(
        cluster,
        measuring,
        SystemClock(),
        rollouts_per_namespace=settings.rollouts_per_namespace,
        own_deployment=settings.operator_deployment,
    )
    loop = Loop(cycle, measuring, metrics, health, cycle_seconds=settings.cycle_seconds, stopping=stopping)
    server = HealthServer(metrics.registry, health, address=settings.http_address, port=settings.http_port)
    server.start()
    logger.info("rightsizer %s, usage from %s, /healthz and /metrics on port %d", __version__, settings.prometheus_url, server.port)
    try:
        kopf.run(registry=_registry(loop), settings=_kopf_settings(), standalone=True, clusterwide=True)
    finally:
        loop.stop()
        server.stop()
        measuring.close()
        cluster.close()
        source.close()


def _new_history(settings: Settings) -> NewHistory:
    return lambda slots: History(slots=slots, folder=settings.history_folder, origin=usage_origin(settings))


def _progress_to(health: Health) -> Progress:
    told = 10

    def progress(share: float) -> None:
        nonlocal told
        health.progress()
        if told != (told := int(share * 10)):
            logger.info("history: %d %% of the window read", told * 10)

    return progress


def _registry(loop: Loop) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    watch = ProfileWatch()

    @kopf.on.startup(registry=registry)
    def start(**_: Any) -> None:
        loop.start()

    @kopf.on.cleanup(registry=registry)
    def stop(**_: Any) -> None:
        loop.stop()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        # In the same order as the cluster adapter, so that both speak to the same cluster.
        if "KUBECONFIG" in os.environ:
            return kopf.login_with_kubeconfig(**kwargs)
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    def profile_changed(type: str | None, meta: Mapping[str, Any], **_: Any) -> None:
        if watch.matters(type, meta):
            loop.wake()

    for plural in PLURALS:
        kopf.on.event(GROUP, VERSION, plural, registry=registry)(profile_changed)
    return registry


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.networking.error_backoffs = EndlessBackoff()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.chunk_size = 500
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.peering.standalone = True
    return settings
