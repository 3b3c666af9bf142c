"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, FAILURE = "ok", "warning", "failure"


@dataclass(frozen=True)
class Finding:
    """subject: what was looked at; verdict: OK, WARNING or FAILURE; found: in words; fix: what to do, '' if nothing."""

    subject: str
    verdict: str
    found: str
    fix: str = ""
