"""Every kind of file that the fuzzer feeds to a reader, by name."""

from __future__ import annotations

from vergence.benchmarks.stress import (
    hostile,
    hostile_graphs,
    hostile_settings,
    hostile_tables,
    hostile_videos,
)
from vergence.benchmarks.stress.bombs import BOMBS

KINDS = {
    kind.name: kind
    for kind in (
        *hostile.FILES,
        *hostile_graphs.FILES,
        *hostile_tables.FILES,
        *hostile_settings.FILES,
        *hostile_videos.FILES,
        BOMBS,
    )
}
