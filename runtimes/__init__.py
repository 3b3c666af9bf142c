"""One session per runtime, all behind `ddtasnet_edge.session.Session`; numpy only, never torch."""

from ddtasnet_edge.runtimes.registry import RUNTIMES, open_session

__all__ = ["RUNTIMES", "open_session"]
