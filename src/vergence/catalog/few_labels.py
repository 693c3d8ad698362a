"""Papers on learning with few, noisy or shifted labels."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("sslps", 90, "Self-similarity Driven Scale-invariant Learning for Weakly Supervised Person Search", 2023, "2302.12986", "image", "few-labels", "learner"),
    Paper("simmatchv2", 130, "SimMatchV2: Semi-Supervised Learning with Graph Consistency", 2023, "2308.06692", "image", "few-labels", "learner"),
    Paper("rpl", 136, "If your data distribution shifts, use self-learning", 2022, "2104.12928", "image", "few-labels", "learner"),
    Paper("plslsa", 139, "An accurate detection is not all you need to combat label noise in web-noisy datasets", 2024, "2407.05528", "image", "few-labels", "learner"),
    Paper("psrzsl", 159, "Preserving Semantic Relations for Zero-Shot Learning", 2018, "1803.03049", "image", "zero-shot", "learner"),
    Paper("megraphau", 170, "Learning Multi-dimensional Edge Feature-based AU Relation Graph for Facial Action Unit Recognition", 2022, "2205.01782", "image", "few-labels", "learner"),
    Paper("deeplds", 188, "Deep Low-Density Separation for Semi-Supervised Classification", 2020, "2205.11995", "image", "few-labels", "estimator"),
)
# fmt: on
