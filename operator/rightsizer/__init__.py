"""Rightsizer: measures what containers use, sizes them by a rule that everybody can check, and applies it safely."""

from __future__ import annotations

__version__ = "0.1.0"
