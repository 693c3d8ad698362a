"""References that everybody expects; they are not counted among the 203 papers."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("simclr", None, "A Simple Framework for Contrastive Learning of Visual Representations", 2020, "2002.05709", "any", "representation", "learner", "vergence.methods.pairs.simclr:SimCLR"),
    Paper("barlow", None, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021, "2103.03230", "any", "representation", "learner", "vergence.methods.pairs.barlow:BarlowTwins"),
    Paper("vicreg", None, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", 2022, "2105.04906", "any", "representation", "learner", "vergence.methods.pairs.vicreg:VICReg"),
    Paper("byol", None, "Bootstrap your own latent: A new approach to self-supervised Learning", 2020, "2006.07733", "any", "representation", "learner", "vergence.methods.pairs.byol:BYOL"),
    Paper("mocov2", None, "Improved Baselines with Momentum Contrastive Learning", 2020, "2003.04297", "any", "representation", "learner", "vergence.methods.pairs.mocov2:MoCoV2"),
    Paper("simsiam", None, "Exploring Simple Siamese Representation Learning", 2020, "2011.10566", "any", "representation", "learner", "vergence.methods.pairs.simsiam:SimSiam"),
    Paper("nnclr", None, "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual Representations", 2021, "2104.14548", "any", "representation", "learner", "vergence.methods.pairs.nnclr:NNCLR"),
    Paper("lejepa", None, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics", 2025, "2511.08544", "any", "representation", "learner", "vergence.methods.pairs.lejepa:LeJEPA"),
    Paper("mae", None, "Masked Autoencoders Are Scalable Vision Learners", 2022, "2111.06377", "image", "representation", "learner", "vergence.methods.image.mae:MAE"),
    Paper("ijepa", None, "Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture", 2023, "2301.08243", "image", "representation", "learner", "vergence.methods.image.ijepa:IJEPA"),
    Paper("swav", None, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", 2020, "2006.09882", "image", "representation", "learner", "vergence.methods.image.swav:SwAV"),
    Paper("dino", None, "Emerging Properties in Self-Supervised Vision Transformers", 2021, "2104.14294", "image", "representation", "learner", "vergence.methods.image.dino:DINO"),
    Paper("distill", None, "Knowledge distillation: A good teacher is patient and consistent", 2022, "2106.05237", "image", "representation", "learner", "vergence.methods.image.distill:Distill"),
    Paper("supervised", None, "Deep Residual Learning for Image Recognition", 2016, "1512.03385", "image", "representation", "learner", "vergence.methods.image.supervised:Supervised"),
)
# fmt: on
