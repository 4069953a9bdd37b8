"""The cycle: measure, recommend, check, act, record, for every workload that a profile rules. Speaks to ports only."""

from rightsizer.cycle.assignment import Assignment, Ruled, assign
from rightsizer.cycle.cycle import Cycle
from rightsizer.cycle.measuring import Measuring
from rightsizer.cycle.recommending import recommend
from rightsizer.cycle.report import CycleReport

__all__ = ["Assignment", "Cycle", "CycleReport", "Measuring", "Ruled", "assign", "recommend"]
