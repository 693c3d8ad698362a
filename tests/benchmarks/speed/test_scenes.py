"""Every truth of scenes is measured, and is made when quick."""

from vergence.benchmarks.speed import scenes
from vergence.data.worlds.scenes.truths import TRUTHS


def test_every_truth_is_measured_at_every_size_and_runs_when_quick():
    full = [contest.name for contest in scenes.contests(quick=False)]
    assert full == [f"{name}-{size}" for name in ("pictures", *TRUTHS) for size in scenes.SIZES]
    quick = list(scenes.contests(quick=True))
    assert [contest.name for contest in quick] == [f"{name}-32" for name in ("pictures", *TRUTHS)]
    for contest in quick:
        (ours,) = contest.contestants
        ours.prepare()()


def test_the_bar_is_for_plain_truths_at_64_pixels():
    held = {contest.name for contest in scenes.contests(quick=False) if contest.least}
    assert held == {f"{name}-64" for name in scenes.PLAIN} and set(scenes.PLAIN) < set(TRUTHS)
