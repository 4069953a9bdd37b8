"""A real kubelet with a real containerd as one more node of the testbed: cgroups, OOM kills and cAdvisor as they really are.

Standard library only, as the testbed. What runs lives in namespaces of its own and is gone with the `with` block, or the Python process.
"""

from __future__ import annotations

from tests.realnode.cgroups import ContainerCgroup
from tests.realnode.node import IMAGE, RealNode
from tests.realnode.possible import why_not

__all__ = ["IMAGE", "ContainerCgroup", "RealNode", "why_not"]
