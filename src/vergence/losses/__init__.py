"""Objectives: pure functions on tensors, shared by every modality. No state, no collective."""

from vergence.losses.content import content_nce
from vergence.losses.contrast import info_nce, node_info_nce, nt_xent, queue_nce
from vergence.losses.decorrelate import barlow_twins, covariance_penalty, variance_hinge, vicreg
from vergence.losses.distill import centred, dino, koleo, sinkhorn, soft_cross_entropy
from vergence.losses.gaussian import random_directions, sigreg
from vergence.losses.geometry import distance_correlation, gram_difference
from vergence.losses.kernel import hsic, mmd, uniformity
from vergence.losses.kernel_nce import kernel_nce
from vergence.losses.local_nce import local_nce
from vergence.losses.predict import byol, negative_cosine
from vergence.losses.sets import chamfer
from vergence.losses.tags import asymmetric
from vergence.losses.whiten import w_mse, whiten

__all__ = [
    "asymmetric",
    "barlow_twins",
    "byol",
    "centred",
    "chamfer",
    "content_nce",
    "covariance_penalty",
    "dino",
    "distance_correlation",
    "gram_difference",
    "hsic",
    "info_nce",
    "kernel_nce",
    "koleo",
    "local_nce",
    "mmd",
    "negative_cosine",
    "node_info_nce",
    "nt_xent",
    "queue_nce",
    "random_directions",
    "sigreg",
    "sinkhorn",
    "soft_cross_entropy",
    "uniformity",
    "variance_hinge",
    "vicreg",
    "w_mse",
    "whiten",
]
