"""The methods by which sizes are recommended, by the name that a profile calls them."""

from __future__ import annotations

from collections.abc import Mapping

from rightsizer.methods.measured import Measured
from rightsizer.methods.plugin import installed
from rightsizer.methods.recommendation import Method
from rightsizer.profile import REPLAYED_METHODS

METHODS: Mapping[str, Method] = {method.name: method for method in (Measured(),)}
"""The methods that are always there."""


def known_methods() -> Mapping[str, Method]:
    """These, and those of the plug-ins that are installed; the name of one of these cannot be taken."""
    return {**{name: plugin for name, plugin in installed().items() if name not in REPLAYED_METHODS}, **METHODS}
