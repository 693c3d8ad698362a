"""Papers on objects found, boxed and segmented with few or no labels."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("tokencut", 13, "Self-Supervised Transformers for Unsupervised Object Discovery using Normalized Cut", 2022, "2202.11539", "image", "objects", "readout"),
    Paper("pdiscoformer", 19, "PDiscoFormer: Relaxing Part Discovery Constraints with Vision Transformers", 2024, "2407.04538", "image", "objects", "learner"),
    Paper("boxsnake", 53, "BoxSnake: Polygonal Instance Segmentation with Box Supervision", 2023, "2303.11630", "image", "objects", "learner"),
    Paper("lift", 69, "LiFT: A Surprisingly Simple Lightweight Feature Transform for Dense ViT Descriptors", 2024, "2403.14625", "image", "objects", "learner"),
    Paper("clusterfug", 79, "ClusterFuG: Clustering Fully connected Graphs by Multicut", 2023, "2301.12159", "any", "objects", "estimator", "vergence.use.clusterfug:multicut"),
    Paper("lost", 101, "Localizing Objects with Self-Supervised Transformers and no Labels", 2021, "2109.14279", "image", "objects", "readout"),
    Paper("amodal", 107, "Semantic Amodal Segmentation", 2017, "1509.01329", "image", "objects", "protocol"),
    Paper("comrp", 123, "Unsupervised semantic segmentation of high-resolution UAV imagery for road scene parsing", 2024, "2402.02985", "image", "objects", "tool"),
    Paper("uolwrps", 125, "Unsupervised Object Localization with Representer Point Selection", 2023, "2309.04172", "image", "objects", "readout"),
    Paper("cuts3d", 126, "CutS3D: Cutting Semantics in 3D for 2D Unsupervised Instance Segmentation", 2025, "2411.16319", "image", "objects", "learner"),
    Paper("guidedlabelling", 133, "Exploiting saliency for object segmentation from image level labels", 2017, "1701.08261", "image", "objects", "learner"),
    Paper("depthg", 135, "Spatially Guiding Unsupervised Semantic Segmentation Through Depth-Informed Feature Distillation and Sampling", 2024, "2309.12378", "image", "objects", "learner"),
    Paper("most", 172, "MOST: Multiple Object localization with Self-supervised Transformers for object discovery", 2023, "2304.05387", "image", "objects", "readout"),
    Paper("centerpoints", 174, "Centerpoints Are All You Need in Overhead Imagery", 2022, "2210.01857", "image", "objects", "learner"),
    Paper("aciseg", 182, "Weakly Supervised Instance Segmentation by Learning Annotation Consistent Instances", 2020, "2007.09397", "image", "objects", "learner"),
    Paper("csfpn", 183, "Cascaded Sparse Feature Propagation Network for Interactive Segmentation", 2022, "2203.05145", "image", "objects", "learner"),
    Paper("pais", 187, "Pseudo-label Alignment for Semi-supervised Instance Segmentation", 2023, "2308.05359", "image", "objects", "learner"),
    Paper("p2seg", 196, "P2Seg: Pointly-supervised Segmentation via Mutual Distillation", 2024, "2401.09709", "image", "objects", "learner"),
)
# fmt: on
