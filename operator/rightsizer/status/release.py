"""What the status of a container remembers of its releases: its image, since when it has it, and from which release on its history counts.

The operator learns of a release by seeing another image than the written one, so that a restart forgets nothing. Of an image that it sees
for the first time it does not know since when.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rightsizer.methods.release import Release
from rightsizer.status.times import rfc3339, unix_seconds
from rightsizer.workload import RESOURCES, ResourceName

MOST_CHARACTERS = 1_024
"""What the schema takes of an image, which is longer than any that can be pulled."""


def image_status(entry: Mapping[str, Any], image: str, *, now: float) -> dict[str, str]:
    """`image` and `imageSince` of `status.containers[]`, by the written entry; nothing for an unknown image. `now` in unix seconds."""
    image = image[:MOST_CHARACTERS]
    if not image:
        return {}
    before = entry.get("image")
    if before == image:
        return {name: entry[name] for name in ("image", "imageSince") if name in entry}
    return {"image": image} if before is None else {"image": image, "imageSince": rfc3339(now)}


def release_status(release: Release) -> dict[str, str]:
    """`release` of an explanation."""
    return {"time": rfc3339(release.at), "image": release.image[:MOST_CHARACTERS]}


def newest_release(entry: Mapping[str, Any]) -> Release | None:
    """The newest release of a container, by its entry; None where none was seen."""
    return _release(entry.get("imageSince"), entry.get("image"))


def splitting_releases(entry: Mapping[str, Any]) -> dict[ResourceName, Release]:
    """The releases since which the history of a resource counts, as it is written."""
    explanations = _mapping(entry.get("explanation"))
    written = {resource: _mapping(_mapping(explanations.get(resource)).get("release")) for resource in RESOURCES}
    found = {resource: _release(each.get("time"), each.get("image")) for resource, each in written.items()}
    return {resource: release for resource, release in found.items() if release is not None}


def _mapping(value: object) -> Mapping[str, Any]:
    """What is written, unless somebody made something else of it."""
    return value if isinstance(value, Mapping) else {}


def _release(time: object, image: object) -> Release | None:
    try:
        return Release(unix_seconds(str(time)), str(image)) if time and image else None
    except ValueError:
        # Somebody edited it.
        return None
