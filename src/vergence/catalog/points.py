"""Papers on point clouds and meshes."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("shapecodes", 18, "ShapeCodes: Self-Supervised Feature Learning by Lifting Views to Viewgrids", 2018, "1709.00505", "points", "representation", "learner"),
    Paper("dgcnn", 33, "Dynamic Graph CNN for Learning on Point Clouds", 2019, "1801.07829", "points", "representation", "backbone"),
    Paper("dcglr", 55, "Distillation with Contrast is All You Need for Self-Supervised Point Cloud Representation Learning", 2022, "2202.04241", "points", "representation", "learner"),
    Paper("sc3k", 103, "SC3K: Self-supervised and Coherent 3D Keypoints Estimation from Rotated, Noisy, and Decimated Point Cloud Data", 2023, None, "points", "keypoints", "learner"),
    Paper("pointmaezero", 106, "Learning 3D Representations from Procedural 3D Programs", 2024, "2411.17467", "points", "representation", "tool"),
    Paper("monoxiver", 111, "Monocular 3D Object Detection with Bounding Box Denoising in 3D by Perceiver", 2023, "2304.01289", "points", "objects", "learner"),
    Paper("rwseg", 120, "Collaborative Propagation on Multiple Instance Graphs for 3D Instance Segmentation with Single-point Supervision", 2023, "2208.05110", "points", "objects", "estimator"),
    Paper("pointcpsc", 132, "Point Contrastive Prediction with Semantic Clustering for Self-Supervised Learning on Point Cloud Videos", 2023, "2308.09247", "points", "representation", "learner"),
    Paper("faceformer", 156, "Neural Face Identification in a 2D Wireframe Projection of a Manifold Object", 2022, "2203.04229", "points", "objects", "learner"),
    Paper("satr", 175, "SATR: Zero-Shot Semantic Segmentation of 3D Shapes", 2023, "2304.04909", "points", "objects", "readout"),
    Paper("abodgcnn", 184, "Technical Report of 2023 ABO Fine-grained Semantic Segmentation Competition", 2023, "2310.00427", "points", "objects", "learner"),
    Paper("point2vec", 190, "Point2Vec for Self-Supervised Representation Learning on Point Clouds", 2023, "2303.16570", "points", "representation", "learner"),
)
# fmt: on
