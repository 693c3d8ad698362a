"""Papers on tables."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("legato", 27, "Learning Representations without Compositional Assumptions", 2023, "2305.19726", "tables", "representation", "learner", "vergence.methods.tables.legato:LEGATO"),
    Paper("tldr", 42, "TLDR: Twin Learning for Dimensionality Reduction", 2022, "2110.09455", "tables", "representation", "learner", "vergence.methods.tables.tldr:TLDR"),
    Paper("ctrfeat", 62, "Feature Representation Learning for Click-through Rate Prediction: A Review and New Perspectives", 2023, "2302.02241", "tables", "representation", "survey", "vergence.methods.tables.ctrfeat:ClickThrough"),
    Paper("ssdl", 66, "SSDL: Self-Supervised Dictionary Learning", 2022, "2112.01790", "tables", "representation", "estimator", "vergence.methods.tables.ssdl:SSDL"),
    Paper("inffs", 197, "Infinite Feature Selection: A Graph-based Feature Filtering Approach", 2020, "2006.08184", "tables", "representation", "estimator", "vergence.methods.tables.inffs:InfFS"),
)
# fmt: on
