"""How a workload finds its profile, and what the opt-out annotations leave of the profile's mode.

Pure functions of values; where profiles and annotations come from is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rightsizer.profile.profile import Profile
from rightsizer.profile.rule import Mode, lowest
from rightsizer.workload import MODE_ANNOTATION, Workload


@dataclass(frozen=True, slots=True)
class Selection:
    """The profile that rules a workload, None without one, and the matching profiles that lost to it, in their order."""

    profile: Profile | None
    losers: tuple[Profile, ...] = ()


def select_profile(workload: Workload, profiles: Iterable[Profile], *, namespace_labels: Mapping[str, str] | None = None) -> Selection:
    """The profile that covers the workload's namespace and whose kinds and selector match.

    Of several, one of the namespace itself before a cluster-wide one, then the older, then by name.
    """
    labels = namespace_labels or {}
    matching = sorted((profile for profile in profiles if _matches(profile, workload, labels)), key=_rank)
    return Selection(matching[0], tuple(matching[1:])) if matching else Selection(None)


def _rank(profile: Profile) -> tuple[bool, float, str]:
    return profile.cluster_wide, profile.created_at, profile.name


def _matches(profile: Profile, workload: Workload, namespace_labels: Mapping[str, str]) -> bool:
    covered = profile.covers(workload.ref.namespace, namespace_labels)
    return covered and workload.ref.kind in profile.kinds and profile.selector.matches(workload.labels)


@dataclass(frozen=True, slots=True)
class EffectiveMode:
    """What may happen to one workload, and what a person should know about its annotations."""

    mode: Mode
    notes: tuple[str, ...] = ()


def effective_mode(
    profile: Profile,
    *,
    workload_annotations: Mapping[str, str],
    namespace_annotations: Mapping[str, str],
    pod_annotations: Mapping[str, str] | None = None,
) -> EffectiveMode:
    """The profile's mode, lowered by the annotation `rightsizer.dev/mode` of the workload, of its pod template and of its namespace.

    Safety first: whoever sets the annotation wants less to happen, so a value that cannot be read (`off`, `ignore`) lowers to
    Recommend, which touches nothing, and is reported in `notes`. It does not count as Ignore, because then its report would be lost
    with the recommendation. A value above the profile's mode changes nothing and is reported too.
    """
    mode, notes = profile.mode, []
    places = (("workload", workload_annotations), ("pod template", pod_annotations or {}), ("namespace", namespace_annotations))
    for place, found in places:
        value = found.get(MODE_ANNOTATION)
        if value is not None:
            asked, note = _asked_mode(value, profile.mode)
            mode = lowest(mode, asked)
            notes += [f"annotation {MODE_ANNOTATION} of the {place}: {note}"] if note else []
    return EffectiveMode(mode, tuple(notes))


def _asked_mode(value: str, allowed: Mode) -> tuple[Mode, str]:
    try:
        asked = Mode(value)
    except ValueError:
        return Mode.RECOMMEND, f"{value!r} is neither Ignore nor Recommend; nothing is applied until it is"
    return asked, "" if allowed.allows(asked) else f"it can only lower the mode of the profile, which is {allowed}"
