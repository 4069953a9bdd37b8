"""The checks of what was measured: is it fresh, and is there enough of it?

Both look at each container and resource on its own: one that was renamed yesterday does not hold back the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rightsizer.checks.facts import CheckFacts, Direction, FieldChange, Objection, Reason
from rightsizer.checks.moment import moment
from rightsizer.history import last_slot
from rightsizer.methods.pace import (
    LEAST_COVERAGE,
    LEAST_RUNS,
    SHORTEST_RUN_SLOTS,
    STALE_AFTER_SECONDS,
    UNSEEN_SECONDS,
    covered,
    fresh,
    long_enough,
)
from rightsizer.methods.recommendation import Measurement
from rightsizer.quantities import format_duration
from rightsizer.workload import RESOURCES, FieldPath, ResourceName

_DAY_SECONDS = 86_400
_HOUR_SECONDS = 3_600


def stale_metrics(facts: CheckFacts) -> Objection | None:
    """The newest usage is too old to tell what is needed now: per container and resource, or for all of them."""
    if not facts.workload.ref.steady:
        return _unseen(facts)
    found = _measurements(facts)
    stale = {key: measurement for key, measurement in found.items() if not fresh(facts.now - measurement.newest)}
    if not stale:
        return None
    newest = max(measurement.newest for measurement in stale.values())
    which = "" if len(stale) == len(found) else f" of {_listed(f'{container}.{resource}' for container, resource in stale)}"
    message = f"the newest sample{which} is from {moment(newest)}, more than {format_duration(STALE_AFTER_SECONDS)} ago"
    paths = None if len(stale) == len(found) else frozenset(path for key in stale for path in _paths(*key))
    return Objection(Reason.STALE_METRICS, message, paths)


def _unseen(facts: CheckFacts) -> Objection | None:
    """Between two runs no sample is missing; but what ran for a day without being seen is not known any more."""
    newest = max((measurement.newest for measurement in _measurements(facts).values()), default=None)
    last = facts.workload.last_run
    # A run that has just begun could not be seen yet.
    if newest is None or last is None or last - newest <= UNSEEN_SECONDS or fresh(facts.now - last):
        return None
    length = format_duration(UNSEEN_SECONDS)
    message = (
        f"the newest sample is from {moment(newest)}, and it still ran more than {length} later: "
        "its runs end between two scrapes, or are not scraped"
    )
    return Objection(Reason.STALE_METRICS, message)


def not_enough_history(facts: CheckFacts) -> Objection | None:
    """Too little was seen of a resource to raise it, or, mostly, to lower it."""
    found = _measurements(facts)
    if not found:
        return Objection(Reason.NOT_ENOUGH_HISTORY, "no usage of any container has been seen yet")
    if not facts.history_read:
        return _still_reading(facts)
    short = [change for change in facts.changes if not _seen_enough(facts, change)]
    if not short:
        return None
    return _too_short(facts, short)


def _still_reading(facts: CheckFacts) -> Objection | None:
    """Nothing is lowered by a part of the window: the peak may lie in the rest. What rises needs no more than it always does."""
    lower = [change for change in facts.changes if change.direction is Direction.LOWER]
    short = [change for change in facts.changes if change.direction is Direction.RAISE and not _seen_enough(facts, change)]
    if not lower:
        return _too_short(facts, short) if short else None
    held = [*lower, *short]
    message = f"the history of the window is still being read: {_listed(str(change.path) for change in held)}"
    return Objection(Reason.NOT_ENOUGH_HISTORY, message, frozenset(change.path for change in held))


def _too_short(facts: CheckFacts, short: Sequence[FieldChange]) -> Objection:
    untold = [change for change in short if _long_enough(facts, change) and _measurement(facts, change).runs is not None]
    if untold and len(untold) == len(short):
        return Objection(Reason.NOT_ENOUGH_HISTORY, _runs_message(facts, untold), frozenset(change.path for change in untold))
    # The longest wait is told: after it, nothing is short of history any more.
    worst = max(short, key=lambda change: _needed_seconds(facts, change) - _seen_seconds(facts, change))
    return Objection(Reason.NOT_ENOUGH_HISTORY, _history_message(facts, worst, short), frozenset(change.path for change in short))


def _measurements(facts: CheckFacts) -> dict[tuple[str, ResourceName], Measurement]:
    return {
        (name, resource): explanation.measurement
        for name, recommendation in facts.recommendations.items()
        for resource in RESOURCES
        if (explanation := recommendation.explanation(resource)) is not None
    }


def _measurement(facts: CheckFacts, change: FieldChange) -> Measurement:
    return _measurements(facts)[change.path.container, change.path.resource]


def _paths(container: str, resource: ResourceName) -> tuple[FieldPath, FieldPath]:
    return FieldPath(container, resource, "request"), FieldPath(container, resource, "limit")


def _needed_seconds(facts: CheckFacts, change: FieldChange) -> int:
    profile = facts.profile
    return profile.raise_after_seconds if change.direction is Direction.RAISE else profile.lower_after_seconds


def _seen_seconds(facts: CheckFacts, change: FieldChange) -> int:
    """What a release made larger is raised by all that was seen of it, but lowered only by what was seen since."""
    measurement = _measurement(facts, change)
    before = measurement.before_release_seconds if change.direction is Direction.RAISE else 0
    return before + measurement.history_seconds


def _long_enough(facts: CheckFacts, change: FieldChange) -> bool:
    return bool(long_enough(_seen_seconds(facts, change), _needed_seconds(facts, change)))


def _covered(measurement: Measurement) -> float:
    return covered(measurement.samples, measurement.history_seconds)


def _seen_enough(facts: CheckFacts, change: FieldChange) -> bool:
    measurement = _measurement(facts, change)
    if measurement.runs is not None:
        return _long_enough(facts, change) and (change.direction is Direction.RAISE or _runs_seen(change, measurement))
    return _long_enough(facts, change) and _covered(measurement) >= LEAST_COVERAGE


def _runs_seen(change: FieldChange, measurement: Measurement) -> bool:
    """Whether enough runs were seen, and long enough ones, to lower something that runs now and then."""
    enough = (measurement.runs or 0) >= LEAST_RUNS or _covered(measurement) >= LEAST_COVERAGE
    return enough and not _too_short_to_measure(change, measurement)


def _too_short_to_measure(change: FieldChange, measurement: Measurement) -> bool:
    return change.path.resource == "cpu" and measurement.longest_run_slots < SHORTEST_RUN_SLOTS


def _runs_message(facts: CheckFacts, short: Sequence[FieldChange]) -> str:
    """Why what runs now and then is not lowered although it is known for long enough."""
    few = [change for change in short if _covered(found := _measurement(facts, change)) < LEAST_COVERAGE and (found.runs or 0) < LEAST_RUNS]
    if few:
        seen = min(_measurement(facts, change).runs or 0 for change in few)
        window = format_duration(facts.profile.window_seconds)
        return (
            f"{seen} of {LEAST_RUNS} runs seen in {window} (spec.window), shorter ones than a scrape interval are not seen: "
            f"{_listed(str(change.path) for change in few)}"
        )
    return (
        "its runs fill no five minutes, of which CPU is the mean: it may use more at once than was measured, and is not lowered: "
        f"{_listed(str(change.path) for change in short)}"
    )


def _history_message(facts: CheckFacts, worst: FieldChange, short: Iterable[FieldChange]) -> str:
    measurement = _measurement(facts, worst)
    paths = _listed(str(change.path) for change in short)
    if _long_enough(facts, worst):
        share = int(_covered(measurement) * 100)
        return f"values for {share} % of {_span(measurement.history_seconds)} of history, at least {LEAST_COVERAGE:.0%} are needed: {paths}"
    needed = _needed_seconds(facts, worst)
    seen = _seen_seconds(facts, worst)
    if needed >= 2 * _DAY_SECONDS > seen:
        so_far = f"{_span(seen)} of {needed / _DAY_SECONDS:g} days of history"
    elif needed >= 2 * _DAY_SECONDS:
        so_far = f"{seen // _DAY_SECONDS} of {needed / _DAY_SECONDS:g} days of history"
    else:
        so_far = f"{seen // _HOUR_SECONDS} of {needed / _HOUR_SECONDS:g} hours of history"
    if measurement.release is not None and worst.direction is Direction.LOWER:
        so_far += f" since {measurement.release}"
    # What runs now and then is as old as its first run, and does not end with its last one.
    end = measurement.newest if measurement.runs is None else last_slot(facts.now)
    enough = end - seen + needed
    return f"{so_far}, enough from {moment(enough)} on: {paths}"


def _span(seconds: int) -> str:
    if seconds >= 2 * _DAY_SECONDS:
        return f"{seconds // _DAY_SECONDS} days"
    hours = seconds // _HOUR_SECONDS
    return "1 hour" if hours == 1 else f"{hours} hours"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
