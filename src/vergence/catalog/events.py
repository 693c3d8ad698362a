"""Papers on event sequences."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("coles", 124, "CoLES: Contrastive Learning for Event Sequences with Self-Supervision", 2022, "2002.08232", "events", "representation", "learner", "vergence.methods.events.coles:CoLES"),
    Paper("mlem", 180, "Self-Supervised Learning in Event Sequences: A Comparative Study and Hybrid Approach of Generative Modeling and Contrastive Learning", 2024, "2401.15935", "events", "representation", "learner", "vergence.methods.events.mlem:MLEM"),
)
# fmt: on
