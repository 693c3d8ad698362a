"""Papers on which data and which augmentations a learner sees."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("hkmeans", 17, "Automatic Data Curation for Self-Supervised Learning: A Clustering-Based Approach", 2024, "2405.15613", "any", "curation", "estimator", "vergence.use.hkmeans:curate"),
    Paper("selfdocseg", 47, "SelfDocSeg: A Self-Supervised vision-based Approach towards Document Segmentation", 2023, "2305.00795", "image", "objects", "learner"),
    Paper("sas", 65, "Data-Efficient Contrastive Self-supervised Learning: Most Beneficial Examples for Supervised Learning Contribute the Least", 2023, "2302.09195", "any", "curation", "estimator", "vergence.use.sas:subset"),
    Paper("iexplorer", 75, "Internet Explorer: Targeted Representation Learning on the Open Web", 2023, "2302.14051", "image", "curation", "tool", "vergence.methods.image.iexplorer:InternetExplorer"),
    Paper("selfaugment", 149, "SelfAugment: Automatic Augmentation Policies for Self-Supervised Learning", 2021, "2009.07724", "image", "curation", "tool", "vergence.methods.image.selfaugment:SelfAugment"),
)
# fmt: on
