"""The methods by which sizes are recommended, by the name that a profile calls them."""

from __future__ import annotations

from collections.abc import Mapping

from rightsizer.methods.measured import Measured
from rightsizer.methods.recommendation import Method

METHODS: Mapping[str, Method] = {method.name: method for method in (Measured(),)}
