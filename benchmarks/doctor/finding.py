"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass

#: UNKNOWN is neither good nor bad: the system does not show it, as in many virtual machines.
OK, WARNING, FAILURE, UNKNOWN = "ok", "warning", "failure", "unknown"


@dataclass(frozen=True)
class Finding:
    """subject: what was looked at; verdict: OK, WARNING, FAILURE or UNKNOWN; found: in words.

    fix: what to do, '' if nothing; shown_by: what would show it, of what is unknown.
    """

    subject: str
    verdict: str
    found: str
    fix: str = ""
    shown_by: str = ""
