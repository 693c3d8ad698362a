"""How the threads of OpenMP wait for each other, which is chosen before torch is loaded."""

import os
from collections.abc import MutableMapping

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def wait_asleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads that wait give their core to other work, unless the environment says how they wait.

    A thread that spins takes the core from the very thread that it waits for, where something else runs.

    Args:
        environment: Of this process, before torch is loaded, or of one that is to be started.
    """
    if not any(name in environment for name in SETTINGS):
        environment["OMP_WAIT_POLICY"] = "passive"
