"""What agents look at."""

from scans import filled, store  # noqa: F401 - fixtures
