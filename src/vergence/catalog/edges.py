"""Papers on edges, boundaries and lines in images."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("dexined", 6, "Dense Extreme Inception Network: Towards a Robust CNN Model for Edge Detection", 2020, "1909.01955", "image", "edges", "learner"),
    Paper("teed", 10, "Tiny and Efficient Model for the Edge Detection Generalization", 2023, "2308.06468", "image", "edges", "learner"),
    Paper("hed", 29, "Holistically-Nested Edge Detection", 2015, "1504.06375", "image", "edges", "learner", "vergence.methods.edges.hed:HED"),
    Paper("ect", 59, "ECT: Fine-grained Edge Detection with Learned Cause Tokens", 2024, "2308.03092", "image", "edges", "learner"),
    Paper("pairingnet", 67, "PairingNet: A Learning-based Pair-searching and -matching Network for Image Fragments", 2024, "2312.08704", "image", "edges", "learner"),
    Paper("hawp", 122, "Holistically-Attracted Wireframe Parsing: From Supervised to Self-Supervised Learning", 2023, "2210.12971", "image", "edges", "learner"),
    Paper("magnitude", 128, "The magnitude vector of images", 2021, "2110.15188", "image", "edges", "estimator"),
    Paper("boundaryattn", 134, "Boundary Attention: Learning to Find Faint Boundaries at Any Resolution", 2024, "2401.00935", "image", "edges", "learner"),
    Paper("pntedge", 143, "PNT-Edge: Towards Robust Edge Detection with Noisy Labels by Learning Pixel-level Noise Transitions", 2023, "2307.14070", "image", "edges", "learner"),
    Paper("freecos", 191, "FreeCOS: Self-Supervised Learning from Fractals and Unlabeled Images for Curvilinear Object Segmentation", 2023, "2307.07245", "image", "edges", "learner"),
    Paper("projgeom", 192, "Shadows Don't Lie and Lines Can't Bend! Generative Models don't know Projective Geometry...for now", 2024, "2311.17138", "image", "analysis", "protocol"),
)
# fmt: on
