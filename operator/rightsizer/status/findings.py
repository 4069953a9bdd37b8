"""The findings of a container as its status has them: `status.containers[].findings`, a list of type and message.

A message stands as long as its finding and the explanations beside it: its figures move a little with every slot, and that is no news.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rightsizer.methods.finding import Finding, FindingType

_TYPES = {str(kind): kind for kind in FindingType}


def findings_to_write(entry: Mapping[str, Any], findings: Iterable[Finding], *, renewed: bool) -> list[dict[str, str]]:
    """What is written for these findings. `entry` is the container's entry in the written status; `renewed`: whether its explanations
    are, so that all figures are of one moment."""
    written = {} if renewed else _messages(entry)
    return [{"type": str(found.type), "message": written.get(found.type, found.message)} for found in findings]


def told_findings(entry: Mapping[str, Any]) -> frozenset[FindingType]:
    """The types that are written in an entry of `status.containers`; what is not one of them is passed over."""
    return frozenset(_messages(entry))


def _messages(entry: Mapping[str, Any]) -> dict[FindingType, str]:
    try:
        return {_TYPES[found["type"]]: str(found["message"]) for found in entry.get("findings", []) if found.get("type") in _TYPES}
    except (KeyError, TypeError, AttributeError):
        # Somebody edited it.
        return {}
