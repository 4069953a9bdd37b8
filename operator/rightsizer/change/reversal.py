"""How a change that did harm is taken back, and how long the next one has to wait.

Taking back is a change of its own with the same life: recorded, made through the same strategy, observed. It is not watched, and it is not
taken back.
"""

from __future__ import annotations

from dataclasses import replace

from rightsizer.change.change import Change, Outcome, start
from rightsizer.checks.facts import FieldChange
from rightsizer.workload import FieldPath, Workload

BACK_OFF_SECONDS = (86_400, 2 * 86_400, 7 * 86_400)
"""How long nothing is tried after the first, second, and any further change in a row that was taken back."""


def to_be_reverted(change: Change, workload: Workload, *, asked: bool = False) -> tuple[FieldChange, ...]:
    """What would take the change back: the numbers that are still as it left them, to what they were. `asked`: a person wants it.

    Empty where there is nothing to take back: it did no harm, was never made, is itself a reversal, or others have set all of it since.
    """
    failed = change.outcome is Outcome.FAILED
    if change.reverts or not (failed or (asked and change.outcome in (Outcome.IN_PROGRESS, Outcome.VERIFYING, Outcome.SUCCEEDED))):
        return ()
    return tuple(FieldChange(one.path, one.after, one.before) for one in change.fields() if _current(workload, one.path) == one.after)


def to_be_repeated(change: Change, workload: Workload) -> tuple[FieldChange, ...]:
    """What a change that was to take another one back, and came to nothing, would still put back."""
    if not change.reverts or change.outcome not in (Outcome.ABANDONED, Outcome.FAILED):
        return ()
    return tuple(one for one in change.fields() if _current(workload, one.path) == one.before)


def start_reversal(change: Change, workload: Workload, fields: tuple[FieldChange, ...], *, now: float, cause: str) -> Change:
    """The intent to put these numbers back, to be recorded before it is done. `change`: the one that is taken back, or the try before."""
    failures = change.failures if change.reverts else change.failures + 1
    begun = start(workload, fields, now=now, strategy=change.strategy, last_lowered=change.last_lowered, failures=failures)
    return replace(begun, reverts=cause, last_lowered=change.last_lowered, message=f"about to be taken back: {cause}")


def back_off_seconds(failures: int) -> int:
    """How long to wait after so many reversals in a row; 0 for none."""
    return BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS)) - 1] if failures > 0 else 0


def _current(workload: Workload, path: FieldPath) -> int | None:
    container = workload.container(path.container)
    return None if container is None else container.sizes.get(path.resource, path.field)
