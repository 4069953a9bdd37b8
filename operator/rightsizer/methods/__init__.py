"""The methods by which sizes are recommended, by the name that a profile calls them."""

from __future__ import annotations

from collections.abc import Mapping

from rightsizer.methods.learned import Learned
from rightsizer.methods.measured import Measured
from rightsizer.methods.plugin import installed
from rightsizer.methods.recommendation import Method

METHODS: Mapping[str, Method] = {method.name: method for method in (Measured(), Learned())}
"""The methods that are always there."""


def known_methods() -> Mapping[str, Method]:
    """These, and those of the plug-ins that are installed; the name of one of these cannot be taken."""
    return {**installed(), **METHODS}
