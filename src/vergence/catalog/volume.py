"""Papers on medical volumes and radiographs."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("lvmmed", 30, "LVM-Med: Learning Large-Scale Self-Supervised Vision Models for Medical Imaging via Second-order Graph Matching", 2023, "2306.11925", "volume", "representation", "learner"),
    Paper("alice", 158, "Anatomical Invariance Modeling and Semantic Alignment for Self-supervised Learning in 3D Medical Image Analysis", 2023, None, "volume", "representation", "learner"),
    Paper("jointssl", 164, "Joint Self-Supervised Image-Volume Representation Learning with Intra-Inter Contrastive Clustering", 2023, None, "volume", "representation", "learner"),
    Paper("mrm", 173, "Advancing Radiograph Representation Learning with Masked Record Modeling", 2023, None, "volume", "representation", "learner"),
    Paper("globallocalcl", 177, "Contrastive learning of global and local features for medical image segmentation with limited annotations", 2020, "2006.10511", "volume", "few-labels", "learner"),
)
# fmt: on
