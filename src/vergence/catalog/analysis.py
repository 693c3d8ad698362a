"""Surveys, benchmarks, theory and analyses of networks."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("genorcon", 2, "Self-supervised Learning: Generative or Contrastive", 2021, "2006.08218", "any", "analysis", "survey"),
    Paper("visualssl", 3, "Self-supervised Visual Feature Learning with Deep Neural Networks: A Survey", 2020, "1902.06162", "image", "analysis", "survey"),
    Paper("scalingssl", 24, "Scaling and Benchmarking Self-Supervised Visual Representation Learning", 2019, "1905.01235", "image", "analysis", "protocol"),
    Paper("teachingmatters", 34, "Teaching Matters: Investigating the Role of Supervision in Vision Transformers", 2023, "2212.03862", "image", "analysis", "protocol"),
    Paper("revisitingssl", 35, "Revisiting Self-Supervised Visual Representation Learning", 2019, "1901.09005", "image", "analysis", "protocol"),
    Paper("selfstudy", 40, "How Useful is Self-Supervised Pretraining for Visual Tasks?", 2020, "2003.14323", "image", "analysis", "protocol"),
    Paper("vitssl", 41, "A Survey of the Self Supervised Learning Mechanisms for Vision Transformers", 2024, "2408.17059", "image", "analysis", "survey"),
    Paper("curltheory", 51, "A Theoretical Analysis of Contrastive Unsupervised Representation Learning", 2019, "1902.09229", "any", "analysis", "theory"),
    Paper("ssltransfer", 77, "How Well Do Self-Supervised Models Transfer?", 2021, "2011.13377", "image", "analysis", "protocol"),
    Paper("contrastivesurvey", 81, "A Survey on Contrastive Self-supervised Learning", 2021, "2011.00362", "any", "analysis", "survey"),
    Paper("rkhsaug", 85, "Understanding Augmentation-based Self-Supervised Representation Learning via RKHS Approximation and Regression", 2024, "2306.00788", "any", "analysis", "theory"),
    Paper("replearn", 88, "Representation Learning: A Review and New Perspectives", 2013, "1206.5538", "any", "analysis", "survey"),
    Paper("stepwise", 131, "On the Stepwise Nature of Self-Supervised Learning", 2023, "2303.15438", "any", "analysis", "theory"),
    Paper("clvsmim", 146, "What Do Self-Supervised Vision Transformers Learn?", 2023, "2305.00729", "image", "analysis", "protocol"),
    Paper("bob", 169, "Battle of the Backbones: A Large-Scale Comparison of Pretrained Models across Computer Vision Tasks", 2023, "2310.19909", "image", "analysis", "protocol"),
)
# fmt: on
