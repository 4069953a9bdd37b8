"""Things that fool recommenders, recognised in the usage itself: one detector per module, arrays in, rows and figures out.

A detector tells the rows in which it found something and the figures that justify it. Rows of which it is told already keep it down to a
lower threshold, so that a status does not flap. `recognising` runs them all and words what they found.
"""

from __future__ import annotations
