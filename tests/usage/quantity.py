"""Reads the Kubernetes quantities of the demo's manifests and of pods of the testbed.

Apart from the product's own parser on purpose: what checks the product must not share its mistakes.
"""

from __future__ import annotations

import re
from decimal import Decimal

_FACTORS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(1000),
    "M": Decimal(1000) ** 2,
    "G": Decimal(1000) ** 3,
    "T": Decimal(1000) ** 4,
    "Ki": Decimal(1024),
    "Mi": Decimal(1024) ** 2,
    "Gi": Decimal(1024) ** 3,
    "Ti": Decimal(1024) ** 4,
}

_QUANTITY = re.compile(rf"(?P<number>\d+(?:\.\d+)?)(?P<suffix>{'|'.join(_FACTORS)})")

MEBIBYTE = 1024**2
GIBIBYTE = 1024**3


def amount(quantity: str) -> float:
    """Cores or bytes of a quantity such as ``180m``, ``2``, ``320Mi``.

    Raises:
        ValueError: not a quantity.
    """
    found = _QUANTITY.fullmatch(quantity)
    if found is None:
        raise ValueError(f"not a quantity: {quantity!r}")
    return float(Decimal(found["number"]) * _FACTORS[found["suffix"]])
