"""Evidence as the status tells it, in round figures, and kept as it is written while it says nearly the same.

The figures of a workload are those of its containers together: their sums, and the worst share of the time. Nothing here knows how they
were made, nor what is decided by them: that is done with the exact ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rightsizer.checks.differences import effective
from rightsizer.errors import InvalidQuantity
from rightsizer.evidence.proof import Evidence
from rightsizer.quantities import duration_seconds, format_days, format_percentage, format_share_up
from rightsizer.workload import RESOURCES, Container, ResourceName, Workload

_BANDS = {"timeAboveRequest": 0.3, "changesPerDay": 0.2, "saved": 5.0}
"""By so much a figure may differ from the written one without being news: percentage points, changes a day, percentage points."""

_LEAST_OF_WINDOW = 5 / 6


def evidence_status(workload: Workload, evidence: Mapping[str, Evidence], *, old: Mapping[str, Any], awaited: bool) -> dict[str, Any]:
    """`status.evidence`; what is written (`old`) where nearly the same would be written, or where there is nothing to write.

    `awaited`: nothing was replayed yet that could say otherwise, as after a restart. Else nothing is left of what is written.

    7d: 0 OOM, 0.3% above, 0.1/day, -61% mem
    """
    known = [(container, evidence[container.name]) for container in workload.sizable if container.name in evidence]
    found = [(container, each) for container, each in known if each.proves_anything]
    if not found:
        return dict(old) if awaited else {}
    new = _status(found)
    return dict(old) if _nearly(old, new) else new


def of_container(container: Container, evidence: Evidence) -> str:
    """The short form for one container."""
    return str(_status([(container, evidence)])["summary"])


def _status(found: Sequence[tuple[Container, Evidence]]) -> dict[str, Any]:
    figures = [evidence.figures(resource) for _, evidence in found for resource in RESOURCES]
    status: dict[str, Any] = {
        "window": format_days(max(evidence.days for _, evidence in found)),
        "oomKills": sum(each.oom_events for each in figures),
        "timeAboveRequest": format_share_up(max(each.above for each in figures)),
        "changesPerDay": f"{sum(evidence.changes for _, evidence in found):.1f}",
        "saved": {resource: text for resource in RESOURCES if (text := _saved(found, resource))},
    }
    return {"summary": _summary(status), **status}


def _saved(found: Iterable[tuple[Container, Evidence]], resource: ResourceName) -> str:
    """How much less would have been requested in the mean than is requested today; negative for more, empty where nothing is requested.

    Adding 0.0 makes a zero of a negative zero.
    """
    pairs = [
        (now, figures.request)
        for container, evidence in found
        if (now := effective(container.sizes, resource, "request")) and (figures := evidence.figures(resource)).judged_slots
    ]
    before, after = sum(now for now, _ in pairs), sum(request for _, request in pairs)
    return format_percentage(round((before - after) / before, 2) + 0.0) if before else ""


def _summary(status: Mapping[str, Any]) -> str:
    # One of the two, as it stands in a narrow column: memory is what is wasted most, and what kills.
    saved = [f"{_signed(status['saved']['memory'])} mem"] if "memory" in status["saved"] else []
    above, changes = status["timeAboveRequest"], status["changesPerDay"]
    return f"{status['window']}: " + ", ".join([f"{status['oomKills']} OOM", f"{above} above", f"{changes}/day", *saved])


def _signed(saved: str) -> str:
    """61% saved is -61%."""
    if saved.startswith("-"):
        return saved.replace("-", "+")
    return saved if saved == "0%" else f"-{saved}"


def _nearly(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    try:
        same = (
            old["oomKills"] == new["oomKills"]
            and _nearly_as_long(old["window"], new["window"])
            and old["saved"].keys() == new["saved"].keys()
        )
        pairs = [(old[name], new[name], _BANDS[name]) for name in ("timeAboveRequest", "changesPerDay")]
        pairs += [(old["saved"][resource], text, _BANDS["saved"]) for resource, text in new["saved"].items()]
        # None at all is a figure of its own.
        return same and all(
            abs(_number(was) - _number(now)) < band and bool(_number(was)) == bool(_number(now)) for was, now, band in pairs
        )
    except (KeyError, ValueError, TypeError, AttributeError, InvalidQuantity):
        # Nothing is written yet, or somebody edited it.
        return False


def _nearly_as_long(was: str, now: str) -> bool:
    """What was judged may lose a day of a week without being news: a slot that is missing makes less than seven days of them."""
    before, after = duration_seconds(was), duration_seconds(now)
    return before * _LEAST_OF_WINDOW <= after <= before


def _number(text: str) -> float:
    return float(text.removesuffix("%"))
