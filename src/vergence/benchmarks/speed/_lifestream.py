"""CoLES of pytorch-lifestream: an epoch for every line that comes in. ``events.py`` runs it."""

import sys
import time
from functools import partial

import numpy as np
import torch

SLICES, SHORTEST, LONGEST, CLIENTS = 5, 25, 200, 64


def main(path: str, dim: int, threads: int) -> None:
    from ptls.frames.coles import ColesDataset, CoLESModule
    from ptls.frames.coles.split_strategy import SampleSlices
    from ptls.nn import RnnSeqEncoder, TrxEncoder

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    log = dict(np.load(path))
    ends = np.flatnonzero(np.diff(log["user"])) + 1
    parts = {name: np.split(log[name], ends) for name in ("ts", "shop", "channel", "amount")}
    records = [
        {"event_time": torch.tensor(ts), "shop": torch.tensor(shop), "channel": torch.tensor(channel),
         "amount": torch.tensor(amount)}
        for ts, shop, channel, amount in zip(*parts.values(), strict=True)
    ]  # fmt: skip
    events = TrxEncoder(
        embeddings_noise=0.003,
        numeric_values={"amount": "identity"},
        embeddings={name: {"in": int(log[name].max()) + 2, "out": 16} for name in ("shop", "channel")},
    )
    module = CoLESModule(
        seq_encoder=RnnSeqEncoder(trx_encoder=events, hidden_size=dim, type="gru"),
        optimizer_partial=partial(torch.optim.Adam, lr=1e-3),
        lr_scheduler_partial=partial(torch.optim.lr_scheduler.StepLR, step_size=30, gamma=0.9),
    )
    module.log = lambda *args, **options: None  # there is no trainer
    data = ColesDataset(records, splitter=SampleSlices(split_count=SLICES, cnt_min=SHORTEST, cnt_max=LONGEST))
    loader = torch.utils.data.DataLoader(
        data, batch_size=CLIENTS, shuffle=True, drop_last=True, collate_fn=data.collate_fn
    )
    adam = torch.optim.Adam(module.parameters(), lr=1e-3)
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for batch in loader:
            adam.zero_grad()
            module.training_step(batch, 0).backward()
            adam.step()
        print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
