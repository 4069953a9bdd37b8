"""Remembers what each namespace weighs and how often it is scraped, which decides the size and the ranges of the questions about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from rightsizer.errors import UsageSourceError, UsageSourceUnreachable
from rightsizer.ports import Load, UsageSource

ASKED_AGAIN_SECONDS = 3_600

LONGEST_SURE_INTERVAL_SECONDS = 60
SURE_AFTER_SECONDS = 1_800
"""Containers that have just started have few samples, as if they were scraped seldom: a longer interval has to be seen for so long."""

UNKNOWN_LOAD = Load(series=100, scrape_interval_seconds=60)
"""Of a namespace without samples now: its past is read with a range that fits all usual intervals, and without its throttling."""

MOST_FAILURES_IN_A_ROW = 12
"""Enough to halve from two thousand namespaces down to the one that is to blame."""


class Loads:
    """Loads by namespace. Times in unix seconds."""

    def __init__(self, source: UsageSource) -> None:
        self._source = source
        self._known: dict[str, Load] = {}
        self._present: set[str] = set()
        self._asked: dict[str, float] = {}
        self._first_known: dict[str, float] = {}
        self._longer_since: dict[str, float] = {}

    def of(self, namespace: str) -> Load:
        return self._known.get(namespace, UNKNOWN_LOAD)

    def present(self, namespace: str) -> bool:
        """Whether it had CPU usage when it was asked last."""
        return namespace in self._present

    def learn(self, namespaces: Collection[str], *, now: float) -> dict[str, UsageSourceError]:
        """Ask for what is not known well or long ago. Answers why nothing is known of some.

        Raises UsageSourceError where it is no namespace's fault: the server is away, or fails again and again.
        """
        failed = self._ask([namespace for namespace in namespaces if self._due(namespace, now)], now=now)
        return {namespace: error for namespace, error in failed.items() if namespace not in self._known}

    def learn_anew(self, namespaces: Collection[str], *, now: float) -> dict[str, UsageSourceError]:
        """As `learn`, for all that were not asked at this very time."""
        return self._ask([namespace for namespace in namespaces if self._asked.get(namespace) != now], now=now)

    def _due(self, namespace: str, now: float) -> bool:
        if namespace not in self._present or namespace in self._longer_since:
            return True
        long = self._known[namespace].scrape_interval_seconds > LONGEST_SURE_INTERVAL_SECONDS
        if long and now - self._first_known[namespace] < SURE_AFTER_SECONDS:
            return True
        return now - self._asked[namespace] >= ASKED_AGAIN_SECONDS

    def _ask(self, namespaces: Sequence[str], *, now: float) -> dict[str, UsageSourceError]:
        failed: dict[str, UsageSourceError] = {}
        waiting = deque([sorted(namespaces)] if namespaces else [])
        failures = 0
        while waiting:
            names = waiting.popleft()
            try:
                found = self._source.loads(names, at=int(now))
            except UsageSourceError as error:
                failures += 1
                if isinstance(error, UsageSourceUnreachable) or failures == MOST_FAILURES_IN_A_ROW:
                    raise
                if len(names) == 1:
                    failed[names[0]] = error
                else:
                    waiting.extendleft((names[len(names) // 2 :], names[: len(names) // 2]))
                continue
            failures = 0
            self._keep(names, found, now)
        return failed

    def _keep(self, namespaces: Sequence[str], found: Mapping[str, Load], now: float) -> None:
        for namespace in namespaces:
            self._asked[namespace] = now
            self._present.discard(namespace)
            if namespace in found:
                self._present.add(namespace)
                self._first_known.setdefault(namespace, now)
                self._known[namespace] = self._believed(namespace, found[namespace], now)

    def _believed(self, namespace: str, found: Load, now: float) -> Load:
        """After a gap in all series of a namespace, what was known of its interval before holds for a while."""
        before = self._known.get(namespace, found).scrape_interval_seconds
        if found.scrape_interval_seconds <= before:
            self._longer_since.pop(namespace, None)
            return found
        since = self._longer_since.setdefault(namespace, now)
        if now - since < SURE_AFTER_SECONDS:
            return replace(found, scrape_interval_seconds=before)
        del self._longer_since[namespace]
        return found
