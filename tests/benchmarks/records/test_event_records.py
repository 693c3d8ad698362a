"""The arms of the event methods' runs of record differ from the paper in what they say, and train."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import vergence
from vergence.benchmarks.arms import Trained
from vergence.benchmarks.record import find_record
from vergence.benchmarks.records.coles import Scattered
from vergence.methods.events.encoders import for_source


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path, rng = tmp_path_factory.mktemp("log") / "log.parquet", np.random.default_rng(0)
    user = np.repeat(np.arange(12), 40)
    columns = {
        "id": user,
        "ts": np.arange(480),
        "shop": rng.integers(0, 4, 480),
        "paid": rng.normal(size=480),
    }
    pq.write_table(pa.table(columns), path)
    return vergence.open(f"events:{path}?id=id&time=ts&categorical=shop&numeric=paid")


def trained_arms(key):
    arms = find_record(key).arms.values()
    return [arm for arm in arms if isinstance(arm, Trained) and arm.method is not None]


@pytest.mark.parametrize("key", ["coles", "mlem"])
def test_every_arm_learns_and_none_is_another_under_a_new_name(key, source):
    batch, losses = next(source.loader(12)), []
    for arm in trained_arms(key):
        torch.manual_seed(0)
        method = arm.method(for_source(source, dim=8))
        method.alone = 0.0  # MLEM: as in its second half
        torch.manual_seed(1)
        loss = sum(method.loss(method.views(batch)).values())
        loss.backward()
        assert loss.isfinite() and all(p.grad is not None for p in method.encoder.parameters())
        losses.append(round(loss.item(), 4))
    assert len(set(losses)) == len(losses)


def test_scattered_events_are_different_ones_of_their_own_history_in_order(source):
    batch = next(source.loader(12))
    cut = Scattered(3, shortest=5, longest=20)(batch)
    for s, index in enumerate(cut.index.tolist()):
        part = cut.time[cut.offsets[s] : cut.offsets[s + 1]]
        assert (part // 40 == index).all() and (part.diff() > 0).all()
    assert (cut.time.diff().abs() > 1).float().mean() > 0.3
