"""Sizes as `requests` and `limits` of quantities, as the API writes them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rightsizer.quantities import cpu_millicores, format_cpu, format_memory, memory_bytes
from rightsizer.workload import ResourceName, Sizes


def sizes_status(sizes: Sizes) -> dict[str, dict[str, str]]:
    """`{"requests": {"cpu": "216m", ...}, "limits": {...}}`; what is not set is left out."""
    return {
        "requests": _section(cpu=sizes.cpu_request, memory=sizes.memory_request),
        "limits": _section(cpu=sizes.cpu_limit, memory=sizes.memory_limit),
    }


def sizes_from_status(status: Mapping[str, Any]) -> Sizes:
    """Raises InvalidQuantity, and TypeError or AttributeError where it is not of that shape."""
    requests, limits = status.get("requests", {}), status.get("limits", {})
    return Sizes(
        cpu_request=_cpu(requests),
        cpu_limit=_cpu(limits),
        memory_request=_memory(requests),
        memory_limit=_memory(limits),
    )


def quantity(resource: ResourceName, value: int) -> str:
    """A size or a difference of sizes: 216m, -64Mi."""
    text = format_cpu(abs(value)) if resource == "cpu" else format_memory(abs(value))
    return f"-{text}" if value < 0 else text


def _section(*, cpu: int | None, memory: int | None) -> dict[str, str]:
    section: dict[str, str] = {}
    if cpu is not None:
        section["cpu"] = format_cpu(cpu)
    if memory is not None:
        section["memory"] = format_memory(memory)
    return section


def _cpu(section: Mapping[str, Any]) -> int | None:
    text = section.get("cpu")
    return None if text is None else cpu_millicores(text)


def _memory(section: Mapping[str, Any]) -> int | None:
    text = section.get("memory")
    return None if text is None else memory_bytes(text)
