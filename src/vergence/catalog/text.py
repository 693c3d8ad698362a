"""Papers on images with text: dual encoders, zero-shot readouts, diffusion."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("texttopicnet", 9, "Self-supervised learning of visual features through embedding images into text topic spaces", 2017, "1705.08631", "text", "representation", "learner"),
    Paper("edgevl", 39, "Self-Adapting Large Visual-Language Models to Edge Devices across Visual Modalities", 2024, "2403.04908", "text", "zero-shot", "learner"),
    Paper("formnetv2", 43, "FormNetV2: Multimodal Graph Contrastive Learning for Form Document Information Extraction", 2023, "2305.02549", "text", "representation", "learner"),
    Paper("self-guidance", 46, "Diffusion Self-Guidance for Controllable Image Generation", 2023, "2306.00986", "text", "generation", "tool"),
    Paper("gopro", 49, "GOPro: Generate and Optimize Prompts in CLIP using Self-Supervised Learning", 2023, "2308.11605", "text", "zero-shot", "learner"),
    Paper("clip-dinoiser", 54, "CLIP-DINOiser: Teaching CLIP a few DINO tricks", 2024, "2312.12359", "text", "objects", "readout"),
    Paper("meta-personalize", 63, "Meta-Personalizing Vision-Language Models to Find Named Instances in Video", 2023, "2306.10169", "text", "retrieval", "learner"),
    Paper("zlap", 82, "Label Propagation for Zero-shot Classification with Vision-Language Models", 2024, "2404.04072", "text", "zero-shot", "estimator"),
    Paper("ovdiff", 87, "Diffusion Models for Zero-Shot Open-Vocabulary Segmentation", 2024, "2306.09316", "text", "objects", "readout"),
    Paper("clip-art", 95, "CLIP-Art: Contrastive Pre-training for Fine-Grained Art Classification", 2021, None, "text", "zero-shot", "learner"),
    Paper("hgclip", 108, "HGCLIP: Exploring Vision-Language Models with Graph Representations for Hierarchical Understanding", 2025, "2311.14064", "text", "zero-shot", "learner"),
    Paper("cpp", 109, "Image Clustering via the Principle of Rate Reduction in the Age of Pretrained Models", 2024, "2306.05272", "text", "clustering", "estimator"),
    Paper("silc", 117, "SILC: Improving Vision Language Pretraining with Self-Distillation", 2024, "2310.13355", "text", "representation", "learner"),
    Paper("ld-znet", 147, "LD-ZNet: A Latent Diffusion Approach for Text-Based Image Segmentation", 2023, "2303.12059", "text", "objects", "learner"),
    Paper("lgs", 162, "Let's Go Shopping (LGS) -- Web-Scale Image-Text Dataset for Visual Concept Understanding", 2024, "2401.04575", "text", "curation", "protocol"),
    Paper("i2l", 167, "All in an Aggregated Image for In-Image Learning", 2024, "2402.17971", "text", "zero-shot", "readout"),
    Paper("gem-grounding", 179, "Grounding Everything: Emerging Localization Properties in Vision-Language Transformers", 2024, "2312.00878", "text", "objects", "readout"),
    Paper("autoclip", 194, "AutoCLIP: Auto-tuning Zero-Shot Classifiers for Vision-Language Models", 2024, "2309.16414", "text", "zero-shot", "readout"),
    Paper("rep-guided-diffusion", 201, "Learned representation-guided diffusion models for large-image generation", 2024, "2312.07330", "text", "generation", "learner"),
    Paper("dclip", 202, "Visual Classification via Description from Large Language Models", 2023, "2210.07183", "text", "zero-shot", "readout"),
)
# fmt: on
