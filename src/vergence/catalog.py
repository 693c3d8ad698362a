"""The library's table of contents: one row a paper. Imports nothing heavy."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from vergence.core.errors import BadInput, unknown

Kind = Literal["learner", "estimator", "readout", "protocol", "backbone", "theory", "survey", "tool"]


@dataclass(frozen=True, slots=True)
class Paper:
    """One row of the catalog.

    Args:
        key: Name of file, test, result and command.
        number: Place among the 203 papers; None for a reference that everybody expects.
        title: As printed on the paper.
        year: Of publication.
        arxiv: Id without version, or None.
        family: The room it lives in: a modality, or what it is for.
        kind: How it is used. A learner trains an encoder, an estimator is fitted, a readout works on
            features, a protocol measures.
        code: Where it is, ``"module:name"``; None while it is planned.
    """

    key: str
    number: int | None
    title: str
    year: int
    arxiv: str | None
    family: str
    kind: Kind
    code: str | None = None

    @property
    def status(self) -> Literal["in", "planned", "reference"]:
        """Whether there is code; references are not counted among the papers."""
        if self.number is None:
            return "reference"
        return "in" if self.code else "planned"

    @property
    def url(self) -> str | None:
        """Where to read it."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else None


# fmt: off
PAPERS: tuple[Paper, ...] = (
    Paper("transitive", 8, "Transitive Invariance for Self-supervised Visual Representation Learning", 2017, "1708.02901", "image", "learner"),
    Paper("hiergroup", 11, "Self-Supervised Visual Representation Learning from Hierarchical Grouping", 2020, "2012.03044", "image", "learner"),
    Paper("scan", 15, "SCAN: Learning to Classify Images without Labels", 2020, "2005.12320", "image", "learner"),
    Paper("lens", 16, "Automatic Shortcut Removal for Self-Supervised Representation Learning", 2020, "2002.08822", "image", "learner"),
    Paper("invprobe", 20, "Demystifying Contrastive Self-Supervised Learning: Invariances, Augmentations and Dataset Biases", 2020, "2007.13916", "image", "protocol"),
    Paper("registers", 21, "Vision Transformers Need Registers", 2024, "2309.16588", "image", "backbone", "vergence.methods.image.registers:report"),
    Paper("pirl", 25, "Self-Supervised Learning of Pretext-Invariant Representations", 2020, "1912.01991", "image", "learner"),
    Paper("mls", 26, "Multi-Label Self-Supervised Learning with Scene Images", 2023, "2308.03286", "image", "learner"),
    Paper("kernelinfonce", 31, "Contrastive Learning Is Spectral Clustering On Similarity Graph", 2024, "2303.15103", "image", "theory"),
    Paper("cdjp", 36, "Learning Image Representations by Completing Damaged Jigsaw Puzzles", 2018, "1802.01880", "image", "learner"),
    Paper("dinov2", 44, "DINOv2: Learning Robust Visual Features without Supervision", 2024, "2304.07193", "image", "learner", "vergence.methods.image.dinov2:DINOv2"),
    Paper("densecl", 50, "Dense Contrastive Learning for Self-Supervised Visual Pre-Training", 2021, "2011.09157", "image", "learner"),
    Paper("saliencyssl", 56, "Saliency Can Be All You Need In Contrastive Self-Supervised Learning", 2022, "2210.16776", "image", "learner"),
    Paper("jigen", 57, "Self-Supervised Learning Across Domains", 2021, "2007.12368", "image", "learner"),
    Paper("synfgvr", 58, "On Learning Discriminative Features from Synthesized Data for Self-Supervised Fine-Grained Visual Recognition", 2024, "2407.14676", "image", "learner"),
    Paper("care", 70, "Structuring Representation Geometry with Rotationally Equivariant Contrastive Learning", 2024, "2306.13924", "image", "learner"),
    Paper("gsimclr", 78, "G-SimCLR : Self-Supervised Contrastive Learning with Guided Projection via Pseudo Labelling", 2020, "2009.12007", "image", "learner"),
    Paper("npid", 89, "Unsupervised Feature Learning via Non-Parametric Instance-level Discrimination", 2018, "1805.01978", "image", "learner", "vergence.methods.image.npid:NPID"),
    Paper("contextplus", 91, "Improvements to context based self-supervised learning", 2018, "1711.06379", "image", "learner"),
    Paper("mocov3", 93, "An Empirical Study of Training Self-Supervised Vision Transformers", 2021, "2104.02057", "image", "learner", "vergence.methods.image.mocov3:MoCoV3"),
    Paper("all4one", 96, "All4One: Symbiotic Neighbour Contrastive Learning via Self-Attention and Redundancy Reduction", 2023, "2303.09417", "image", "learner"),
    Paper("amdim", 98, "Learning Representations by Maximizing Mutual Information Across Views", 2019, "1906.00910", "image", "learner"),
    Paper("udi", 99, "Unsqueeze [CLS] Bottleneck to Learn Rich Representations", 2024, "2407.17671", "image", "learner"),
    Paper("wmse", 100, "Whitening for Self-Supervised Representation Learning", 2021, "2007.06346", "image", "learner"),
    Paper("dreamteacher", 102, "DreamTeacher: Pretraining Image Backbones with Deep Generative Models", 2023, "2307.07487", "image", "learner"),
    Paper("rotnet", 105, "Unsupervised Representation Learning by Predicting Image Rotations", 2018, "1803.07728", "image", "learner", "vergence.methods.image.rotnet:RotNet"),
    Paper("hib", 113, "Modeling Uncertainty with Hedged Instance Embedding", 2019, "1810.00319", "image", "learner"),
    Paper("cmd", 115, "Cross-Level Multi-Instance Distillation for Self-Supervised Fine-Grained Visual Categorization", 2025, "2401.08860", "image", "learner"),
    Paper("heurpt", 137, "Heuristic Vision Pre-Training with Self-Supervised and Supervised Multi-Task Learning", 2023, "2310.07510", "image", "learner"),
    Paper("deepercluster", 141, "Unsupervised Pre-Training of Image Features on Non-Curated Data", 2019, "1905.01278", "image", "learner"),
    Paper("pgt", 142, "Perceptual Group Tokenizer: Building Perception with Iterative Grouping", 2024, "2311.18296", "image", "backbone"),
    Paper("seeraudit", 145, "Vision Models Are More Robust And Fair When Pretrained On Uncurated Images Without Supervision", 2022, "2202.08360", "image", "protocol"),
    Paper("seer", 148, "Self-supervised Pretraining of Visual Features in the Wild", 2021, "2103.01988", "image", "learner"),
    Paper("lorot", 151, "Tailoring Self-Supervision for Supervised Learning", 2022, "2207.10023", "image", "learner"),
    Paper("trajssl", 160, "Pose-Aware Self-Supervised Learning with Viewpoint Trajectory Regularization", 2024, "2403.14973", "image", "learner"),
    Paper("gmml", 165, "GMML is All you Need", 2022, "2205.14986", "image", "learner", "vergence.methods.image.gmml:GMML"),
    Paper("mvmr", 166, "MV-MR: multi-views and multi-representations for self-supervised learning and knowledge distillation", 2024, "2303.12130", "image", "learner"),
    Paper("context", 171, "Unsupervised Visual Representation Learning by Context Prediction", 2015, "1505.05192", "image", "learner"),
    Paper("sit", 176, "SiT: Self-supervised vIsion Transformer", 2021, "2104.03602", "image", "learner"),
    Paper("cim", 178, "Correlational Image Modeling for Self-Supervised Visual Pre-Training", 2023, "2303.12670", "image", "learner"),
    Paper("halonet", 185, "Scaling Local Self-Attention for Parameter Efficient Visual Backbones", 2021, "2103.12731", "image", "backbone"),
    Paper("mmc", 189, "Masked Momentum Contrastive Learning for Zero-shot Semantic Understanding", 2023, "2308.11448", "image", "learner"),
    Paper("denseau", 193, "Correlation between Alignment-Uniformity and Performance of Dense Contrastive Representations", 2022, "2210.08819", "image", "protocol"),
    Paper("aassl", 200, "Self-supervised visual learning from interactions with objects", 2024, "2407.06704", "image", "learner"),
    Paper("pcd", 203, "Pixel-Wise Contrastive Distillation", 2023, "2211.00218", "image", "learner"),

    Paper("crw", 14, "Space-Time Correspondence as a Contrastive Random Walk", 2020, "2006.14613", "video", "learner"),
    Paper("mas", 73, "Self-supervised Spatio-temporal Representation Learning for Videos by Predicting Motion and Appearance Statistics", 2019, "1904.03597", "video", "learner"),
    Paper("iic", 76, "Self-supervised Video Representation Learning Using Inter-intra Contrastive Framework", 2020, "2008.02531", "video", "learner"),
    Paper("timecycle", 80, "Learning Correspondence from the Cycle-Consistency of Time", 2019, "1903.07593", "video", "learner"),
    Paper("fgvc", 83, "Learning Fine-Grained Features for Pixel-wise Video Correspondences", 2023, None, "video", "learner"),
    Paper("odct", 92, "Online Deep Clustering with Video Track Consistency", 2022, "2206.03086", "video", "learner"),
    Paper("gmrw", 104, "Self-Supervised Any-Point Tracking by Contrastive Random Walks", 2024, "2409.16288", "video", "learner"),
    Paper("scaling4d", 110, "Scaling 4D Representations", 2024, "2412.15212", "video", "learner"),
    Paper("scale", 116, "Spatio-Temporal Crop Aggregation for Video Representation Learning", 2023, "2211.17042", "video", "learner"),
    Paper("visage", 121, "VISAGE: Video Instance Segmentation with Appearance-Guided Enhancement", 2024, "2312.04885", "video", "readout"),
    Paper("cubicpuzzles", 140, "Self-Supervised Video Representation Learning with Space-Time Cubic Puzzles", 2019, "1811.09795", "video", "learner"),
    Paper("labelprop", 150, "Transfer of Representations to Video Label Propagation: Implementation Factors Matter", 2022, "2203.05553", "video", "readout"),
    Paper("mcn", 152, "Multimodal Clustering Networks for Self-supervised Learning from Unlabeled Videos", 2021, "2104.12671", "video", "learner"),
    Paper("drlperm", 155, "Improving Spatiotemporal Self-Supervision by Deep Reinforcement Learning", 2018, "1807.11293", "video", "learner"),
    Paper("vjepa", 163, "Revisiting Feature Prediction for Learning Visual Representations from Video", 2024, "2404.08471", "video", "learner"),
    Paper("moog", 198, "Moving Off-the-Grid: Scene-Grounded Video Representations", 2024, "2411.05927", "video", "learner"),

    Paper("shapecodes", 18, "ShapeCodes: Self-Supervised Feature Learning by Lifting Views to Viewgrids", 2018, "1709.00505", "points", "learner"),
    Paper("dgcnn", 33, "Dynamic Graph CNN for Learning on Point Clouds", 2019, "1801.07829", "points", "backbone"),
    Paper("dcglr", 55, "Distillation with Contrast is All You Need for Self-Supervised Point Cloud Representation Learning", 2022, "2202.04241", "points", "learner"),
    Paper("sc3k", 103, "SC3K: Self-supervised and Coherent 3D Keypoints Estimation from Rotated, Noisy, and Decimated Point Cloud Data", 2023, None, "points", "learner"),
    Paper("pointmaezero", 106, "Learning 3D Representations from Procedural 3D Programs", 2024, "2411.17467", "points", "tool"),
    Paper("monoxiver", 111, "Monocular 3D Object Detection with Bounding Box Denoising in 3D by Perceiver", 2023, "2304.01289", "points", "learner"),
    Paper("rwseg", 120, "Collaborative Propagation on Multiple Instance Graphs for 3D Instance Segmentation with Single-point Supervision", 2023, "2208.05110", "points", "estimator"),
    Paper("pointcpsc", 132, "Point Contrastive Prediction with Semantic Clustering for Self-Supervised Learning on Point Cloud Videos", 2023, "2308.09247", "points", "learner"),
    Paper("faceformer", 156, "Neural Face Identification in a 2D Wireframe Projection of a Manifold Object", 2022, "2203.04229", "points", "learner"),
    Paper("satr", 175, "SATR: Zero-Shot Semantic Segmentation of 3D Shapes", 2023, "2304.04909", "points", "readout"),
    Paper("abodgcnn", 184, "Technical Report of 2023 ABO Fine-grained Semantic Segmentation Competition", 2023, "2310.00427", "points", "learner"),
    Paper("point2vec", 190, "Point2Vec for Self-Supervised Representation Learning on Point Clouds", 2023, "2303.16570", "points", "learner"),

    Paper("lvmmed", 30, "LVM-Med: Learning Large-Scale Self-Supervised Vision Models for Medical Imaging via Second-order Graph Matching", 2023, "2306.11925", "volume", "learner"),
    Paper("alice", 158, "Anatomical Invariance Modeling and Semantic Alignment for Self-supervised Learning in 3D Medical Image Analysis", 2023, None, "volume", "learner"),
    Paper("jointssl", 164, "Joint Self-Supervised Image-Volume Representation Learning with Intra-Inter Contrastive Clustering", 2023, None, "volume", "learner"),
    Paper("mrm", 173, "Advancing Radiograph Representation Learning with Masked Record Modeling", 2023, None, "volume", "learner"),
    Paper("globallocalcl", 177, "Contrastive learning of global and local features for medical image segmentation with limited annotations", 2020, "2006.10511", "volume", "learner"),

    Paper("mvgrl", 1, "Contrastive Multi-View Representation Learning on Graphs", 2020, "2006.05582", "graph", "learner", "vergence.methods.graph.mvgrl:MVGRL"),
    Paper("corewalk", 4, "About Graph Degeneracy, Representation Learning and Scalability", 2020, "2009.02085", "graph", "estimator", "vergence.methods.graph.corewalk:CoreWalk"),
    Paper("supergat", 12, "How to Find Your Friendly Neighborhood: Graph Attention Design with Self-Supervision", 2021, "2204.04879", "graph", "learner", "vergence.methods.graph.supergat:SuperGAT"),
    Paper("node2vec", 22, "node2vec: Scalable Feature Learning for Networks", 2016, "1607.00653", "graph", "estimator", "vergence.methods.graph.node2vec:Node2Vec"),
    Paper("bandana", 32, "Masked Graph Autoencoder with Non-discrete Bandwidths", 2024, "2402.03814", "graph", "learner", "vergence.methods.graph.bandana:Bandana"),
    Paper("jointgraphdiff", 37, "Generative Modeling of Graphs via Joint Diffusion of Node and Edge Attributes", 2024, "2402.04046", "graph", "learner", "vergence.methods.graph.jointgraphdiff:JointGraphDiff"),
    Paper("gain", 38, "Graph Representation Learning for Road Type Classification", 2021, "2107.07791", "graph", "learner", "vergence.methods.graph.gain:GAIN"),
    Paper("hypeboy", 45, "HypeBoy: Generative Self-Supervised Representation Learning on Hypergraphs", 2024, "2404.00638", "graph", "learner", "vergence.methods.graph.hypeboy:HypeBoy"),
    Paper("selftask", 48, "Self-supervised Learning on Graphs: Deep Insights and New Direction", 2020, "2006.10141", "graph", "learner", "vergence.methods.graph.selftask:SelfTask"),
    Paper("tagraph", 52, "Topologically Attributed Graphs for Shape Discrimination", 2023, "2306.17805", "graph", "estimator", "vergence.methods.graph.tagraph:TAGraph"),
    Paper("grace", 74, "Deep Graph Contrastive Representation Learning", 2020, "2006.04131", "graph", "learner", "vergence.methods.graph.grace:GRACE"),
    Paper("neuralfp", 84, "Convolutional Networks on Graphs for Learning Molecular Fingerprints", 2015, "1509.09292", "graph", "backbone", "vergence.methods.graph.neuralfp:NeuralFP"),
    Paper("graphmae", 86, "GraphMAE: Self-Supervised Masked Graph Autoencoders", 2022, "2205.10803", "graph", "learner", "vergence.methods.graph.graphmae:GraphMAE"),
    Paper("ehgnn", 129, "Edge Representation Learning with Hypergraphs", 2021, "2106.15845", "graph", "learner", "vergence.methods.graph.ehgnn:EHGNN"),
    Paper("egnas", 138, "Edge-featured Graph Neural Architecture Search", 2021, "2109.01356", "graph", "estimator", "vergence.methods.graph.egnas:EGNAS"),
    Paper("smart", 154, "Temporal Generalization Estimation in Evolving Graphs", 2024, "2404.04969", "graph", "estimator", "vergence.methods.graph.smart:SMART"),
    Paper("meow", 157, "Heterogeneous Graph Contrastive Learning with Meta-path Contexts and Adaptively Weighted Negative Samples", 2023, "2212.13847", "graph", "learner", "vergence.methods.graph.meow:MEOW"),
    Paper("fie", 168, "Fisher Information Embedding for Node and Graph Learning", 2023, "2305.07580", "graph", "estimator", "vergence.methods.graph.fie:FIE"),
    Paper("graphcl", 186, "Graph Contrastive Learning with Augmentations", 2020, "2010.13902", "graph", "learner", "vergence.methods.graph.graphcl:GraphCL"),
    Paper("gcc", 195, "GCC: Graph Contrastive Coding for Graph Neural Network Pre-Training", 2020, "2006.09963", "graph", "learner", "vergence.methods.graph.gcc:GCC"),

    Paper("coles", 124, "CoLES: Contrastive Learning for Event Sequences with Self-Supervision", 2022, "2002.08232", "events", "learner", "vergence.methods.events.coles:CoLES"),
    Paper("mlem", 180, "Self-Supervised Learning in Event Sequences: A Comparative Study and Hybrid Approach of Generative Modeling and Contrastive Learning", 2024, "2401.15935", "events", "learner", "vergence.methods.events.mlem:MLEM"),

    Paper("legato", 27, "Learning Representations without Compositional Assumptions", 2023, "2305.19726", "tables", "learner", "vergence.methods.tables.legato:LEGATO"),
    Paper("tldr", 42, "TLDR: Twin Learning for Dimensionality Reduction", 2022, "2110.09455", "tables", "learner", "vergence.methods.tables.tldr:TLDR"),
    Paper("ctrfeat", 62, "Feature Representation Learning for Click-through Rate Prediction: A Review and New Perspectives", 2023, "2302.02241", "tables", "survey", "vergence.methods.tables.ctrfeat:ClickThrough"),
    Paper("ssdl", 66, "SSDL: Self-Supervised Dictionary Learning", 2022, "2112.01790", "tables", "estimator", "vergence.methods.tables.ssdl:SSDL"),
    Paper("inffs", 197, "Infinite Feature Selection: A Graph-based Feature Filtering Approach", 2020, "2006.08184", "tables", "estimator", "vergence.methods.tables.inffs:InfFS"),

    Paper("texttopicnet", 9, "Self-supervised learning of visual features through embedding images into text topic spaces", 2017, "1705.08631", "text", "learner"),
    Paper("edgevl", 39, "Self-Adapting Large Visual-Language Models to Edge Devices across Visual Modalities", 2024, "2403.04908", "text", "learner"),
    Paper("formnetv2", 43, "FormNetV2: Multimodal Graph Contrastive Learning for Form Document Information Extraction", 2023, "2305.02549", "text", "learner"),
    Paper("self-guidance", 46, "Diffusion Self-Guidance for Controllable Image Generation", 2023, "2306.00986", "text", "tool"),
    Paper("gopro", 49, "GOPro: Generate and Optimize Prompts in CLIP using Self-Supervised Learning", 2023, "2308.11605", "text", "learner"),
    Paper("clip-dinoiser", 54, "CLIP-DINOiser: Teaching CLIP a few DINO tricks", 2024, "2312.12359", "text", "readout"),
    Paper("meta-personalize", 63, "Meta-Personalizing Vision-Language Models to Find Named Instances in Video", 2023, "2306.10169", "text", "learner"),
    Paper("zlap", 82, "Label Propagation for Zero-shot Classification with Vision-Language Models", 2024, "2404.04072", "text", "estimator"),
    Paper("ovdiff", 87, "Diffusion Models for Zero-Shot Open-Vocabulary Segmentation", 2024, "2306.09316", "text", "readout"),
    Paper("clip-art", 95, "CLIP-Art: Contrastive Pre-training for Fine-Grained Art Classification", 2021, None, "text", "learner"),
    Paper("hgclip", 108, "HGCLIP: Exploring Vision-Language Models with Graph Representations for Hierarchical Understanding", 2025, "2311.14064", "text", "learner"),
    Paper("cpp", 109, "Image Clustering via the Principle of Rate Reduction in the Age of Pretrained Models", 2024, "2306.05272", "text", "estimator"),
    Paper("silc", 117, "SILC: Improving Vision Language Pretraining with Self-Distillation", 2024, "2310.13355", "text", "learner"),
    Paper("ld-znet", 147, "LD-ZNet: A Latent Diffusion Approach for Text-Based Image Segmentation", 2023, "2303.12059", "text", "learner"),
    Paper("lgs", 162, "Let's Go Shopping (LGS) -- Web-Scale Image-Text Dataset for Visual Concept Understanding", 2024, "2401.04575", "text", "protocol"),
    Paper("i2l", 167, "All in an Aggregated Image for In-Image Learning", 2024, "2402.17971", "text", "readout"),
    Paper("gem-grounding", 179, "Grounding Everything: Emerging Localization Properties in Vision-Language Transformers", 2024, "2312.00878", "text", "readout"),
    Paper("autoclip", 194, "AutoCLIP: Auto-tuning Zero-Shot Classifiers for Vision-Language Models", 2024, "2309.16414", "text", "readout"),
    Paper("rep-guided-diffusion", 201, "Learned representation-guided diffusion models for large-image generation", 2024, "2312.07330", "text", "learner"),
    Paper("dclip", 202, "Visual Classification via Description from Large Language Models", 2023, "2210.07183", "text", "readout"),

    Paper("dexined", 6, "Dense Extreme Inception Network: Towards a Robust CNN Model for Edge Detection", 2020, "1909.01955", "edges", "learner"),
    Paper("teed", 10, "Tiny and Efficient Model for the Edge Detection Generalization", 2023, "2308.06468", "edges", "learner"),
    Paper("hed", 29, "Holistically-Nested Edge Detection", 2015, "1504.06375", "edges", "learner"),
    Paper("ect", 59, "ECT: Fine-grained Edge Detection with Learned Cause Tokens", 2024, "2308.03092", "edges", "learner"),
    Paper("pairingnet", 67, "PairingNet: A Learning-based Pair-searching and -matching Network for Image Fragments", 2024, "2312.08704", "edges", "learner"),
    Paper("hawp", 122, "Holistically-Attracted Wireframe Parsing: From Supervised to Self-Supervised Learning", 2023, "2210.12971", "edges", "learner"),
    Paper("magnitude", 128, "The magnitude vector of images", 2021, "2110.15188", "edges", "estimator"),
    Paper("boundaryattn", 134, "Boundary Attention: Learning to Find Faint Boundaries at Any Resolution", 2024, "2401.00935", "edges", "learner"),
    Paper("pntedge", 143, "PNT-Edge: Towards Robust Edge Detection with Noisy Labels by Learning Pixel-level Noise Transitions", 2023, "2307.14070", "edges", "learner"),
    Paper("freecos", 191, "FreeCOS: Self-Supervised Learning from Fractals and Unlabeled Images for Curvilinear Object Segmentation", 2023, "2307.07245", "edges", "learner"),
    Paper("projgeom", 192, "Shadows Don't Lie and Lines Can't Bend! Generative Models don't know Projective Geometry...for now", 2024, "2311.17138", "edges", "protocol"),

    Paper("introspect", 5, "Self-supervised Learning of Geometrically Stable Features Through Probabilistic Introspection", 2018, "1804.01552", "keypoints", "learner"),
    Paper("autolink", 7, "AutoLink: Self-supervised Learning of Human Skeletons and Object Outlines by Linking Keypoints", 2022, "2205.10636", "keypoints", "learner"),
    Paper("asic", 23, "ASIC: Aligning Sparse in-the-wild Image Collections", 2023, "2303.16201", "keypoints", "learner"),
    Paper("croco2", 64, "CroCo v2: Improved Cross-view Completion Pre-training for Stereo Matching and Optical Flow", 2023, "2211.10408", "keypoints", "learner"),
    Paper("loftr", 71, "LoFTR: Detector-Free Local Feature Matching with Transformers", 2021, "2104.00680", "keypoints", "learner"),
    Paper("delf", 72, "Large-Scale Image Retrieval with Attentive Deep Local Features", 2017, "1612.06321", "keypoints", "learner"),
    Paper("edgecape", 127, "Edge Weight Prediction For Category-Agnostic Pose Estimation", 2026, "2411.16665", "keypoints", "learner"),
    Paper("strek", 153, "S-TREK: Sequential Translation and Rotation Equivariant Keypoints for local feature extraction", 2023, "2308.14598", "keypoints", "learner"),
    Paper("superpoint", 161, "SuperPoint: Self-Supervised Interest Point Detection and Description", 2018, "1712.07629", "keypoints", "learner"),

    Paper("tokencut", 13, "Self-Supervised Transformers for Unsupervised Object Discovery using Normalized Cut", 2022, "2202.11539", "objects", "readout"),
    Paper("pdiscoformer", 19, "PDiscoFormer: Relaxing Part Discovery Constraints with Vision Transformers", 2024, "2407.04538", "objects", "learner"),
    Paper("boxsnake", 53, "BoxSnake: Polygonal Instance Segmentation with Box Supervision", 2023, "2303.11630", "objects", "learner"),
    Paper("lift", 69, "LiFT: A Surprisingly Simple Lightweight Feature Transform for Dense ViT Descriptors", 2024, "2403.14625", "objects", "learner"),
    Paper("clusterfug", 79, "ClusterFuG: Clustering Fully connected Graphs by Multicut", 2023, "2301.12159", "objects", "estimator", "vergence.use.clusterfug:multicut"),
    Paper("lost", 101, "Localizing Objects with Self-Supervised Transformers and no Labels", 2021, "2109.14279", "objects", "readout"),
    Paper("amodal", 107, "Semantic Amodal Segmentation", 2017, "1509.01329", "objects", "protocol"),
    Paper("comrp", 123, "Unsupervised semantic segmentation of high-resolution UAV imagery for road scene parsing", 2024, "2402.02985", "objects", "tool"),
    Paper("uolwrps", 125, "Unsupervised Object Localization with Representer Point Selection", 2023, "2309.04172", "objects", "readout"),
    Paper("cuts3d", 126, "CutS3D: Cutting Semantics in 3D for 2D Unsupervised Instance Segmentation", 2025, "2411.16319", "objects", "learner"),
    Paper("guidedlabelling", 133, "Exploiting saliency for object segmentation from image level labels", 2017, "1701.08261", "objects", "learner"),
    Paper("depthg", 135, "Spatially Guiding Unsupervised Semantic Segmentation Through Depth-Informed Feature Distillation and Sampling", 2024, "2309.12378", "objects", "learner"),
    Paper("most", 172, "MOST: Multiple Object localization with Self-supervised Transformers for object discovery", 2023, "2304.05387", "objects", "readout"),
    Paper("centerpoints", 174, "Centerpoints Are All You Need in Overhead Imagery", 2022, "2210.01857", "objects", "learner"),
    Paper("aciseg", 182, "Weakly Supervised Instance Segmentation by Learning Annotation Consistent Instances", 2020, "2007.09397", "objects", "learner"),
    Paper("csfpn", 183, "Cascaded Sparse Feature Propagation Network for Interactive Segmentation", 2022, "2203.05145", "objects", "learner"),
    Paper("pais", 187, "Pseudo-label Alignment for Semi-supervised Instance Segmentation", 2023, "2308.05359", "objects", "learner"),
    Paper("p2seg", 196, "P2Seg: Pointly-supervised Segmentation via Mutual Distillation", 2024, "2401.09709", "objects", "learner"),

    Paper("sslps", 90, "Self-similarity Driven Scale-invariant Learning for Weakly Supervised Person Search", 2023, "2302.12986", "few-labels", "learner"),
    Paper("simmatchv2", 130, "SimMatchV2: Semi-Supervised Learning with Graph Consistency", 2023, "2308.06692", "few-labels", "learner"),
    Paper("rpl", 136, "If your data distribution shifts, use self-learning", 2022, "2104.12928", "few-labels", "learner"),
    Paper("plslsa", 139, "An accurate detection is not all you need to combat label noise in web-noisy datasets", 2024, "2407.05528", "few-labels", "learner"),
    Paper("psrzsl", 159, "Preserving Semantic Relations for Zero-Shot Learning", 2018, "1803.03049", "few-labels", "learner"),
    Paper("megraphau", 170, "Learning Multi-dimensional Edge Feature-based AU Relation Graph for Facial Action Unit Recognition", 2022, "2205.01782", "few-labels", "learner"),
    Paper("deeplds", 188, "Deep Low-Density Separation for Semi-Supervised Classification", 2020, "2205.11995", "few-labels", "estimator"),

    Paper("protosim", 28, "Prototype-based Dataset Comparison", 2023, "2309.02401", "retrieval", "readout", "vergence.use.protosim:compare"),
    Paper("v2l", 60, "V^2L: Leveraging Vision and Vision-language Models into Large-scale Product Retrieval", 2022, "2207.12994", "retrieval", "learner"),
    Paper("cores", 61, "CoReS: Compatible Representations via Stationarity", 2023, "2111.07632", "retrieval", "learner", "vergence.methods.image.cores:CoReS"),
    Paper("quasar", 68, "QUASAR: QUality and Aesthetics Scoring with Advanced Representations", 2024, "2403.06866", "retrieval", "readout", "vergence.use.quasar:anchors"),
    Paper("compsketch", 94, "Compositional Sketch Search", 2021, "2106.08009", "retrieval", "readout"),
    Paper("isc2021", 97, "Results and findings of the 2021 Image Similarity Challenge", 2022, "2202.04007", "retrieval", "protocol", "vergence.evaluate.protocols.isc2021:copy_detection"),
    Paper("pixel-retrieval", 112, "Towards Content-based Pixel Retrieval in Revisited Oxford and Paris", 2023, "2309.05438", "retrieval", "protocol"),
    Paper("simvis", 114, "Visualizing Deep Similarity Networks", 2019, "1901.00536", "retrieval", "readout", "vergence.use.simvis:explain"),
    Paper("weicom", 118, "Composed Image Retrieval for Remote Sensing", 2024, "2405.15587", "retrieval", "readout"),
    Paper("genecis", 119, "GeneCIS: A Benchmark for General Conditional Image Similarity", 2023, "2306.07969", "retrieval", "protocol"),
    Paper("knn-revisit", 144, "Rethinking Nearest Neighbors for Visual Classification", 2021, "2112.08459", "retrieval", "readout", "vergence.use.knn_revisit:fit"),
    Paper("raid", 181, "RAID: A Relation-Augmented Image Descriptor", 2016, "1510.01113", "retrieval", "readout"),
    Paper("sscd", 199, "A Self-Supervised Descriptor for Image Copy Detection", 2022, "2202.10261", "retrieval", "learner", "vergence.methods.image.sscd:SSCD"),

    Paper("hkmeans", 17, "Automatic Data Curation for Self-Supervised Learning: A Clustering-Based Approach", 2024, "2405.15613", "curation", "estimator", "vergence.use.hkmeans:curate"),
    Paper("selfdocseg", 47, "SelfDocSeg: A Self-Supervised vision-based Approach towards Document Segmentation", 2023, "2305.00795", "curation", "learner"),
    Paper("sas", 65, "Data-Efficient Contrastive Self-supervised Learning: Most Beneficial Examples for Supervised Learning Contribute the Least", 2023, "2302.09195", "curation", "estimator", "vergence.use.sas:subset"),
    Paper("iexplorer", 75, "Internet Explorer: Targeted Representation Learning on the Open Web", 2023, "2302.14051", "curation", "tool", "vergence.methods.image.iexplorer:InternetExplorer"),
    Paper("selfaugment", 149, "SelfAugment: Automatic Augmentation Policies for Self-Supervised Learning", 2021, "2009.07724", "curation", "tool", "vergence.methods.image.selfaugment:SelfAugment"),

    Paper("genorcon", 2, "Self-supervised Learning: Generative or Contrastive", 2021, "2006.08218", "analysis", "survey"),
    Paper("visualssl", 3, "Self-supervised Visual Feature Learning with Deep Neural Networks: A Survey", 2020, "1902.06162", "analysis", "survey"),
    Paper("scalingssl", 24, "Scaling and Benchmarking Self-Supervised Visual Representation Learning", 2019, "1905.01235", "analysis", "protocol"),
    Paper("teachingmatters", 34, "Teaching Matters: Investigating the Role of Supervision in Vision Transformers", 2023, "2212.03862", "analysis", "protocol"),
    Paper("revisitingssl", 35, "Revisiting Self-Supervised Visual Representation Learning", 2019, "1901.09005", "analysis", "protocol"),
    Paper("selfstudy", 40, "How Useful is Self-Supervised Pretraining for Visual Tasks?", 2020, "2003.14323", "analysis", "protocol"),
    Paper("vitssl", 41, "A Survey of the Self Supervised Learning Mechanisms for Vision Transformers", 2024, "2408.17059", "analysis", "survey"),
    Paper("curltheory", 51, "A Theoretical Analysis of Contrastive Unsupervised Representation Learning", 2019, "1902.09229", "analysis", "theory"),
    Paper("ssltransfer", 77, "How Well Do Self-Supervised Models Transfer?", 2021, "2011.13377", "analysis", "protocol"),
    Paper("contrastivesurvey", 81, "A Survey on Contrastive Self-supervised Learning", 2021, "2011.00362", "analysis", "survey"),
    Paper("rkhsaug", 85, "Understanding Augmentation-based Self-Supervised Representation Learning via RKHS Approximation and Regression", 2024, "2306.00788", "analysis", "theory"),
    Paper("replearn", 88, "Representation Learning: A Review and New Perspectives", 2013, "1206.5538", "analysis", "survey"),
    Paper("stepwise", 131, "On the Stepwise Nature of Self-Supervised Learning", 2023, "2303.15438", "analysis", "theory"),
    Paper("clvsmim", 146, "What Do Self-Supervised Vision Transformers Learn?", 2023, "2305.00729", "analysis", "protocol"),
    Paper("bob", 169, "Battle of the Backbones: A Large-Scale Comparison of Pretrained Models across Computer Vision Tasks", 2023, "2310.19909", "analysis", "protocol"),

    Paper("simclr", None, "A Simple Framework for Contrastive Learning of Visual Representations", 2020, "2002.05709", "image", "learner", "vergence.methods.pairs.simclr:SimCLR"),
    Paper("barlow", None, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021, "2103.03230", "image", "learner", "vergence.methods.pairs.barlow:BarlowTwins"),
    Paper("vicreg", None, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", 2022, "2105.04906", "image", "learner", "vergence.methods.pairs.vicreg:VICReg"),
    Paper("byol", None, "Bootstrap your own latent: A new approach to self-supervised Learning", 2020, "2006.07733", "image", "learner", "vergence.methods.pairs.byol:BYOL"),
    Paper("mae", None, "Masked Autoencoders Are Scalable Vision Learners", 2022, "2111.06377", "image", "learner"),
    Paper("swav", None, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", 2020, "2006.09882", "image", "learner"),
    Paper("supervised", None, "Deep Residual Learning for Image Recognition", 2016, "1512.03385", "image", "learner"),
)
# fmt: on

_BY_KEY = {paper.key: paper for paper in PAPERS}


def find(key: str) -> Paper:
    """Return the row of ``key``.

    Raises:
        BadInput: If there is none; the nearest key is named.
    """
    paper = _BY_KEY.get(key) or _BY_KEY.get(key.lower().replace("_", "-"))
    if paper is None:
        near = difflib.get_close_matches(key, _BY_KEY, n=2, cutoff=0.5)
        raise (
            unknown("paper", key, near)
            if near
            else BadInput(f"Unknown paper '{key}'; list them with: vergence papers")
        )
    return paper


def papers(family: str | None = None) -> list[Paper]:
    """Return the rows of the catalog, all or one family's.

    >>> [paper.key for paper in papers("volume")]
    ['lvmmed', 'alice', 'jointssl', 'mrm', 'globallocalcl']

    Raises:
        BadInput: If there is no such family.
    """
    families = sorted({paper.family for paper in PAPERS})
    if family is not None and family not in families:
        raise unknown("family", family, families)
    return [paper for paper in PAPERS if family is None or paper.family == family]
