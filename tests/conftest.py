"""What all tests share."""

from __future__ import annotations

import torch
from hypothesis import settings

from tests.bundles import calibration, music, song, tiny  # noqa: F401 - fixtures
from tests.sshd import board, connection  # noqa: F401 - fixtures

# No deadline: a loaded machine must not fail a test.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

# Many small steps: a second thread only waits, and other tests run beside this one.
torch.set_num_threads(1)
