"""A classifier: an encoder with a layer that names the class."""

from __future__ import annotations

from torch import Tensor, nn

from vergence.core import BadInput, Features, input_spec, pooled
from vergence.core.specs import wrapping
from vergence.data import Source
from vergence.nets.heads import width_of
from vergence.nets.image_encoder import Images


class Classifier(nn.Module):
    """An encoder with a linear layer that names the class.

    ``embed(net, source, read=net.probabilities)`` gives how sure it is of each class, for every sample.

    Args:
        encoder: Maps images to ``(B, D)`` or ``Features``; what it gives, this one gives.
        classes: C.
    """

    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.backbone = encoder
        self.out_dim = width_of(encoder)
        self.input_spec = input_spec(encoder)
        self.spec = wrapping(self, encoder, classes=classes)
        self.classify = nn.Linear(self.out_dim, classes)

    def forward(self, images: Images) -> Tensor | Features:
        return self.backbone(images)

    def logits(self, images: Images) -> Tensor:
        """Return the logits ``(B, C)`` of the classes."""
        return self.classify(pooled(self(images)))

    def probabilities(self, images: Images) -> Tensor:
        """Return how probable each class is, ``(B, C)``; rows sum to 1."""
        return self.logits(images).float().softmax(1)


def check_classes(method: str, source: Source, classifier: Classifier) -> None:
    """Raise ``BadInput`` unless every image of ``source`` has a label that ``classifier`` can name.

    Args:
        method: Name of what learns from labels.
        source: What it learns from.
        classifier: What is to name them.
    """
    labels, classes = source.labels, classifier.classify.out_features
    if labels is None or labels.min() < 0:
        raise BadInput(f"{method} learns from labels, and not every image of {source.uri} has one.")
    if labels.max() >= classes:
        raise BadInput(
            f"{source.uri} has {labels.max() + 1} classes, {method} was made for {classes}; "
            f"set classes={labels.max() + 1}."
        )
