"""The challenge's evaluator on hand-made lists, and its deal of photos."""

import numpy as np
import pytest
import torch
from torch import nn

import vergence
from vergence.core.errors import BadInput
from vergence.evaluate.protocols.isc2021 import challenge, copy_detection, judge, micro_ap
from vergence.use.phash import perceptual_hash
from vergence.views.pixels.copies import EDITS, Copies


def test_micro_ap_of_a_list_computed_by_hand():
    # right, wrong, right, wrong; 4 true pairs, 2 never listed: (1/1 + 2/3) / 4
    scores, right = np.array([0.5, 0.9, 0.7, 0.1]), np.array([True, True, False, False])
    assert micro_ap(scores, right, 4) == pytest.approx((1 + 2 / 3) / 4)
    assert micro_ap(scores, np.ones(4, bool), 4) == 1


def test_equal_scores_give_the_worst_of_all_orders():
    right = np.array([True, False, True, False, False])
    worst = micro_ap(np.ones(5), right, 2)
    assert worst == pytest.approx((1 / 4 + 2 / 5) / 2)
    random = np.random.default_rng(0)
    assert all(micro_ap(random.permutation(5).astype(float), right, 2) >= worst for _ in range(50))


@pytest.fixture
def case():
    random = np.random.default_rng(0)
    references = random.standard_normal((40, 8)).astype(np.float32)
    truth = np.r_[np.arange(10), np.full(20, -1)]
    queries = random.standard_normal((30, 8)).astype(np.float32)
    queries[:10] = references[:10] + 0.6 * queries[:10]
    return queries, references, truth


def listed(queries, references, k=5):
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, references)]
    scores = unit[0] @ unit[1].T
    near = np.argsort(-scores, 1)[:, :k]
    pairs = np.stack([np.arange(len(queries)).repeat(k), near.ravel()], 1)
    return pairs, np.take_along_axis(scores, near, 1).ravel()


def test_an_offset_a_query_leaves_recall_at_1_and_moves_micro_ap(case):
    queries, references, truth = case
    pairs, scores = listed(queries, references)
    true = np.stack([np.arange(10), truth[:10]], 1)
    before = judge(pairs, scores, true)
    offset = np.random.default_rng(1).standard_normal(30)
    after = judge(pairs, scores + offset[pairs[:, 0]], true)
    assert after.recall_at_1 == before.recall_at_1 and after.recall_at_k == before.recall_at_k
    assert after.micro_ap.value < before.micro_ap.value - 0.05
    alike = judge(pairs, scores + 3, true)
    assert alike.micro_ap == before.micro_ap


def test_the_protocol_equals_its_list_and_the_background_is_taken_off(case):
    queries, references, truth = case
    pairs, scores = listed(queries, references)
    result = copy_detection(queries, references, truth, k=5)
    true = np.stack([np.arange(10), truth[:10]], 1)
    assert result.micro_ap.value == pytest.approx(judge(pairs, scores, true).micro_ap.value)
    ground = np.random.default_rng(2).standard_normal((25, 8)).astype(np.float32)
    cosine = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        ground / np.linalg.norm(ground, axis=1, keepdims=True)
    ).T
    level = np.sort(cosine, 1)[:, -3:].mean(1)
    normalised = copy_detection(queries, references, truth, k=5, background=ground)
    expected = judge(pairs, scores - level[pairs[:, 0]], true)
    assert normalised.micro_ap.value == pytest.approx(expected.micro_ap.value, abs=1e-6)
    assert normalised.recall_at_1 == result.recall_at_1


def test_recall_at_90_percent_and_the_table_of_edits_by_hand():
    # scores fall from 20: 9 right, 1 wrong (0.9 at ten), 1 wrong, 1 right
    pairs = np.stack([np.arange(12), np.arange(12)], 1)
    right = np.array([True] * 9 + [False, False, True])
    true = pairs[right]
    missing = np.array([[12, 0]])
    edits = np.zeros((13, 2), bool)
    edits[:4, 0] = edits[11, 1] = edits[12, 1] = True
    result = judge(
        pairs,
        20.0 - np.arange(12),
        np.r_[true, missing],
        queries=13,
        edits=edits,
        edit_names=("crop", "text"),
    )
    assert result.recall_at_p90 == pytest.approx(9 / 11) and result.threshold == 11
    assert result.recall_at_1.value == pytest.approx(10 / 11) == result.recall_at_k
    assert result.by_edit["crop"] == {"queries": 4, "recall_at_p90": 1.0, "recall_at_1": 1.0}
    assert result.by_edit["text"] == {"queries": 2, "recall_at_p90": 0.0, "recall_at_1": 0.5}
    assert result.micro_ap.low < result.micro_ap.value <= result.micro_ap.high
    hopeless = judge(pairs[:1], np.ones(1), np.array([[0, 5]]))
    assert hopeless.recall_at_p90 == 0 and hopeless.threshold == np.inf and hopeless.micro_ap.value == 0


def test_of_equal_scores_of_one_query_the_wrong_one_comes_first():
    result = judge(np.array([[0, 0], [0, 1]]), np.ones(2), np.array([[0, 1]]))
    assert result.recall_at_1.value == 0 and result.recall_at_k == 1 and result.micro_ap.value == 0.5


def test_the_deal_has_no_photo_twice_and_a_hash_finds_weak_copies():
    source = vergence.open("digits")
    dealt = challenge(source, size=32, references=200, queries=100, background=50, matched=0.4)
    assert dealt.queries.shape == (100, 3, 32, 32) and dealt.edits.shape == (100, 7)
    assert (dealt.truth >= 0).sum() == 40 and len(set(dealt.truth[:40])) == 40
    assert not set(dealt.references.names) & set(dealt.background.names)
    again = challenge(source, size=32, references=200, queries=100, background=50, matched=0.4)
    assert torch.equal(dealt.queries, again.queries)

    class Hash(nn.Module):
        input_spec = {"size": 32}

        def forward(self, images):
            pixels = images if isinstance(images, torch.Tensor) else images.pixels
            return perceptual_hash(pixels)

    light = Copies(32, chance=(0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0), colour=0.3)
    easy = challenge(source, size=32, references=200, queries=100, background=50, copies=light)
    strong, light_score = dealt.judge(Hash()), easy.judge(Hash(), normalised=False)
    assert light_score.recall_at_1.value > 0.8
    assert strong.recall_at_1.value < 0.5
    assert set(strong.by_edit) <= set(EDITS)


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda: judge(np.zeros((2, 2), int), np.ones(2), np.array([[0, 0]])), "listed pair .* twice"),
        (lambda: judge(np.zeros((1, 2), int), np.ones(1), np.zeros((2, 2), int)), "true pair .* twice"),
        (lambda: judge(np.zeros((1, 2), int), np.array([np.nan]), np.zeros((1, 2), int)), "one finite score"),
        (lambda: judge(np.zeros((1, 2), int), np.ones(1), np.empty((0, 2), int)), "needs true pairs"),
        (lambda: copy_detection(np.ones((2, 3)), np.ones((4, 3)), np.array([0, 4])), "0 to 3 or -1"),
        (
            lambda: challenge(vergence.open("digits"), size=32, references=1700, queries=200, background=9),
            "1700 references, 160 queries without a match",
        ),
    ],
)
def test_mistakes_are_told(ask, line):
    with pytest.raises(BadInput, match=line):
        ask()
