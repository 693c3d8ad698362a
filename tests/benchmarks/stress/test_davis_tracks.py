"""What ``stress.davis_tracks`` writes."""

from __future__ import annotations

import pytest

from vergence.benchmarks.environment import data_root
from vergence.benchmarks.records.labelprop import JUDGED, Clip
from vergence.benchmarks.stress import davis_tracks


def test_means_are_those_of_the_clips_that_judge():
    chosen, judged = ({"J": j, "F": 0.5} for j in (0.9, 0.2))
    result = davis_tracks.about({"net": {"cows": chosen, JUDGED[0]: judged}})
    assert result["means of the clips that judge"] == {"net": {"J": 0.2, "F": 0.5}}


@pytest.mark.skipif(not (data_root() / "davis2016").exists(), reason="DAVIS-2016 is not here")
def test_a_clip_is_followed_better_than_its_first_mask(monkeypatch):
    whole = davis_tracks.clip("camel")
    short = Clip(whole.pixels[:6], whole.masks[:6], "camel")
    monkeypatch.setattr(davis_tracks, "clip", lambda name: short)
    score, pictures = davis_tracks.followed("camel", "vergence:conv-tiny")
    assert score["J"] > score["J copied"] + 0.05 and score["F"] > score["F copied"]
    assert pictures.shape == (120, 214 * davis_tracks.SHOWN, 3) and score["frames a CPU second"] > 0
