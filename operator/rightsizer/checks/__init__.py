"""May this be changed now? Facts in, a verdict out."""

from __future__ import annotations

from rightsizer.checks.chain import CHAIN, judge
from rightsizer.checks.differences import coherent, differences, sizes_after

__all__ = ["CHAIN", "coherent", "differences", "judge", "sizes_after"]
