"""Lines ``label: word word word`` as a source."""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vergence.data.source import ArraySource, Skipped

CODES = 512


@dataclass(frozen=True)
class WordBatch:
    codes: Tensor  # (B, T) int64, 0 where there is no word
    index: Tensor
    label: Tensor

    def __len__(self):
        return len(self.index)

    def to(self, device, non_blocking=False):
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})

    def pin_memory(self):
        return self


class WordSource(ArraySource):
    modality = "words"
    precision = "fp32"

    def __init__(self, lines, uri, *, limit=0.5):
        self.uri, self.skipped, self.view_options = uri, Skipped(limit), {}
        labels, self.lines = zip(*(line.split(": ") for line in lines), strict=True)
        self.classes, self.every = np.unique(labels, return_inverse=True)
        self.classes = [str(word) for word in self.classes]
        self.choose_rows(np.arange(len(lines)))

    def choose_rows(self, rows):
        self.rows, self.labels = rows, self.every[rows]
        self.names = [f"line {row}" for row in rows]

    def sample(self, i):
        return self.lines[self.rows[i]]

    def batch(self, index):
        lines = [self.lines[row].split() for row in self.rows[index]]
        codes = torch.zeros(len(lines), max(map(len, lines)), dtype=torch.int64)
        for row, words in enumerate(lines):
            codes[row, : len(words)] = torch.tensor([zlib.crc32(w.encode()) % CODES + 1 for w in words])
        return WordBatch(codes, torch.as_tensor(index), torch.from_numpy(self.labels_of(index)))


def open_named(uri, *, limit=0.5):
    return open_files([Path(uri.removeprefix("words:"))], Path(), uri, limit=limit)


def open_files(paths, root, uri, *, limit=0.5):
    return WordSource([line for path in paths for line in path.read_text().splitlines()], uri, limit=limit)


def example(kind=""):
    """192 lines of two topics: half of the words are of the topic, the others anybody's."""
    random, lines = np.random.default_rng(0), []
    for i in range(192):
        topics = np.where(random.random(12) < 0.5, "ab"[i % 2], "x")
        lines.append(f"{'ab'[i % 2]}: " + " ".join(f"{t}{random.integers(40)}" for t in topics))
    return WordSource(lines, "memory:words")
