"""Events: what a person should notice without looking for it. One for each turn that is taken, none for what stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rightsizer.change import Change, Outcome
from rightsizer.checks.facts import Reason
from rightsizer.methods.finding import FindingType
from rightsizer.ports import EventTarget
from rightsizer.profile import Mode, Profile
from rightsizer.status.dead_band import entries_by_name
from rightsizer.status.findings import told_findings
from rightsizer.workload import Workload

API_VERSION = "rightsizer.dev/v1alpha1"

_OUTCOMES: Mapping[Outcome, tuple[Literal["Normal", "Warning"], str]] = {
    Outcome.IN_PROGRESS: ("Normal", "Resizing"),
    Outcome.VERIFYING: ("Normal", "Resizing"),
    Outcome.SUCCEEDED: ("Normal", "Resizing"),
    Outcome.FAILED: ("Warning", "ResizeFailed"),
    Outcome.SUPERSEDED: ("Warning", "ResizeSuperseded"),
    Outcome.UNDONE: ("Warning", "ResizeUndone"),
    Outcome.ABANDONED: ("Warning", "ResizeAbandoned"),
}
_MADE = (Outcome.IN_PROGRESS, Outcome.VERIFYING, Outcome.SUCCEEDED)
_HELD_BACK = ("Blocked", "Stale")


@dataclass(frozen=True, slots=True)
class Telling:
    """An event to be posted."""

    target: EventTarget
    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


def of_change(workload: Workload, before: Change | None, after: Change | None, *, written: str) -> Iterator[Telling]:
    """What became of a change since it was last recorded. `written`: the change in figures, such as `cpu 500m -> 216m`."""
    if after is None or after.outcome is Outcome.STARTED:
        return
    if before is not None and (before.time, before.outcome) == (after.time, after.outcome):
        return
    if after.outcome in _MADE and before is not None and before.time == after.time and before.outcome in _MADE:
        # That it was made was told; that it goes well needs nobody.
        return
    kind, reason = _OUTCOMES[after.outcome]
    if after.reverts and after.outcome in _MADE:
        kind, reason = "Warning", "Reverting"
    yield Telling(_workload_target(workload), kind, reason, f"{written}: {after.message}" if written else after.message)


def of_state(workload: Workload, mode: Mode, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Telling]:
    """That a workload that should be changed is held back; that it waits for its turn is no news to anybody."""
    before, after = old.get("summary", {}), new.get("summary", {})
    if mode is not Mode.APPLY or (before.get("state"), before.get("reason")) == (after.get("state"), after.get("reason")):
        return
    if after.get("state") in _HELD_BACK and after.get("reason") != Reason.ANOTHER_ROLLOUT_RUNNING:
        yield Telling(_workload_target(workload), "Warning", str(after.get("reason")), str(after.get("message")))


def of_leaks(workload: Workload, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Telling]:
    """That the memory of a container was found to leak: its owner has to mend it, no size does."""
    before = entries_by_name(old)
    for name, entry in entries_by_name(new).items():
        if FindingType.MEMORY_LEAK in told_findings(before.get(name, {})):
            continue
        for found in entry.get("findings", []):
            if found["type"] == FindingType.MEMORY_LEAK:
                yield Telling(_workload_target(workload), "Warning", found["type"], f"container {name}: {found['message']}")


def of_profile(profile: Profile, new: Mapping[str, Any]) -> Iterator[Telling]:
    """That a condition of the profile turned."""
    before = {condition.get("type"): condition for condition in profile.status.get("conditions", [])}
    for condition in new["conditions"]:
        old = before.get(condition["type"])
        turned = old is None or (old.get("status"), old.get("reason")) != (condition["status"], condition["reason"])
        # A good state is worth an event when it follows on a bad one, or on nothing.
        if turned:
            kind: Literal["Normal", "Warning"] = "Normal" if condition["status"] == "True" else "Warning"
            yield Telling(_profile_target(profile), kind, condition["reason"], f"{condition['type']}: {condition['message']}")


def of_notes(workload: Workload, notes: tuple[str, ...]) -> Iterator[Telling]:
    """What is wrong with the annotations of a workload or its namespace."""
    for note in notes:
        yield Telling(_workload_target(workload), "Warning", "UnknownMode", note)


def _workload_target(workload: Workload) -> EventTarget:
    ref = workload.ref
    return EventTarget(workload.api_version, ref.kind, ref.namespace, ref.name, workload.uid)


def _profile_target(profile: Profile) -> EventTarget:
    return EventTarget(API_VERSION, profile.kind, profile.namespace, profile.name, profile.uid)
