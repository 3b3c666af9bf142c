"""One family of errors: every message says what was found, what was expected and what to do."""

from __future__ import annotations


class EdgeError(Exception):
    """Base of every error a user can cause or fix. Commands print it as one line and exit with `exit_code`."""

    exit_code = 2


class ConfigError(EdgeError):
    """A model configuration, preset, recipe or option that cannot be used."""


class CheckpointError(EdgeError):
    """A weights file that is missing, damaged, unsafe or made for another configuration."""


class AudioError(EdgeError):
    """Audio that cannot be read, written or separated."""


class BundleError(EdgeError):
    """A bundle folder that is incomplete, altered or written for another version."""


class StreamError(EdgeError):
    """A hop or chunk of the wrong shape, dtype or content; the state of the stream is untouched."""


class ExportError(EdgeError):
    """A graph that a converter could not produce or that breaks the contract of the step."""


class TrainingError(EdgeError):
    """A training run that cannot go on; what it had learned is kept."""


class MissingDependencyError(EdgeError):
    """A package that this action needs is not installed."""


class DeviceError(EdgeError):
    """A device profile that does not exist or does not match this machine."""


class GateError(EdgeError):
    """A verified property, such as parity, missed its threshold."""

    exit_code = 1
