"""Where the tests find data, and how they draw."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.register_assert_rewrite("contract", "two_processes")  # what they find wrong is shown as in a test

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets: $VERGENCE_DATA, or shared/data beside the checkout."""
    root = Path(os.environ.get("VERGENCE_DATA", CHECKOUT.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no data at {root}; set VERGENCE_DATA")
    return root
