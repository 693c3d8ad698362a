"""The mean of the words' vectors, and a layer."""

from torch import nn

from toy_modality.data import CODES


class Bag(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.out_dim = width
        self.words = nn.Embedding(CODES + 1, width, padding_idx=0)
        self.layer = nn.Linear(width, width)

    def forward(self, batch):
        here = (batch.codes > 0).sum(1, keepdim=True).clamp_min(1)
        return self.layer(self.words(batch.codes).sum(1) / here)


def build(name=None, *, width=32, size=None):
    encoder = Bag(width)
    encoder.spec = {"name": name or "bag", "width": width}
    return encoder


def for_source(source, name=None, *, size=None, **options):
    return build(name, **options)
