"""Identity of an encoder: what tells whether the vectors of two can be compared."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn

from vergence.core import preprocessing


def identity(encoder: nn.Module) -> dict[str, Any]:
    """Return what a store keeps of the encoder that filled it, in plain values.

    ``weights`` is a digest of all its numbers, ``preprocessing`` what is done to a sample before them.

    >>> from torch import nn
    >>> identity(nn.Identity())["preprocessing"]
    {}
    """
    settings = json.loads(json.dumps(preprocessing(encoder), default=str))  # as a store gives it back
    return {"weights": digest_of_weights(encoder), "preprocessing": settings}


def digest_of_weights(encoder: nn.Module) -> str:
    """Return what tells the weights and buffers of two encoders apart."""
    digest = hashlib.sha256()
    for name, value in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
