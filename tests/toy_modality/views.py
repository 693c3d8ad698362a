"""Two halves of a line, each word in one or the other."""

from dataclasses import replace

import torch


def pair(*, keep=0.5):
    def views(batch):
        first = torch.rand(batch.codes.shape, device=batch.codes.device) < keep
        return [replace(batch, codes=batch.codes * kept) for kept in (first, ~first)]

    return views


KINDS = {"pair": pair}
OPTIONS = ("keep",)
