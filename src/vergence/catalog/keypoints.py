"""Papers on local features, landmarks and two-view geometry."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("introspect", 5, "Self-supervised Learning of Geometrically Stable Features Through Probabilistic Introspection", 2018, "1804.01552", "image", "keypoints", "learner"),
    Paper("autolink", 7, "AutoLink: Self-supervised Learning of Human Skeletons and Object Outlines by Linking Keypoints", 2022, "2205.10636", "image", "keypoints", "learner"),
    Paper("asic", 23, "ASIC: Aligning Sparse in-the-wild Image Collections", 2023, "2303.16201", "image", "correspondence", "learner"),
    Paper("croco2", 64, "CroCo v2: Improved Cross-view Completion Pre-training for Stereo Matching and Optical Flow", 2023, "2211.10408", "image", "correspondence", "learner"),
    Paper("loftr", 71, "LoFTR: Detector-Free Local Feature Matching with Transformers", 2021, "2104.00680", "image", "keypoints", "learner"),
    Paper("delf", 72, "Large-Scale Image Retrieval with Attentive Deep Local Features", 2017, "1612.06321", "image", "retrieval", "learner"),
    Paper("edgecape", 127, "Edge Weight Prediction For Category-Agnostic Pose Estimation", 2026, "2411.16665", "image", "keypoints", "learner"),
    Paper("strek", 153, "S-TREK: Sequential Translation and Rotation Equivariant Keypoints for local feature extraction", 2023, "2308.14598", "image", "keypoints", "learner"),
    Paper("superpoint", 161, "SuperPoint: Self-Supervised Interest Point Detection and Description", 2018, "1712.07629", "image", "keypoints", "learner"),
)
# fmt: on
