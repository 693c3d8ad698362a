"""Papers on retrieval, similarity and its inspection."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("protosim", 28, "Prototype-based Dataset Comparison", 2023, "2309.02401", "image", "analysis", "readout", "vergence.use.protosim:compare"),
    Paper("v2l", 60, "V^2L: Leveraging Vision and Vision-language Models into Large-scale Product Retrieval", 2022, "2207.12994", "text", "retrieval", "learner"),
    Paper("cores", 61, "CoReS: Compatible Representations via Stationarity", 2023, "2111.07632", "image", "retrieval", "learner", "vergence.methods.image.cores:CoReS"),
    Paper("quasar", 68, "QUASAR: QUality and Aesthetics Scoring with Advanced Representations", 2024, "2403.06866", "image", "curation", "readout", "vergence.use.quasar:anchors"),
    Paper("compsketch", 94, "Compositional Sketch Search", 2021, "2106.08009", "image", "retrieval", "readout"),
    Paper("isc2021", 97, "Results and findings of the 2021 Image Similarity Challenge", 2022, "2202.04007", "image", "retrieval", "protocol", "vergence.evaluate.protocols.isc2021:copy_detection"),
    Paper("pixel-retrieval", 112, "Towards Content-based Pixel Retrieval in Revisited Oxford and Paris", 2023, "2309.05438", "image", "retrieval", "protocol"),
    Paper("simvis", 114, "Visualizing Deep Similarity Networks", 2019, "1901.00536", "image", "analysis", "readout", "vergence.use.simvis:explain"),
    Paper("weicom", 118, "Composed Image Retrieval for Remote Sensing", 2024, "2405.15587", "text", "retrieval", "readout"),
    Paper("genecis", 119, "GeneCIS: A Benchmark for General Conditional Image Similarity", 2023, "2306.07969", "text", "retrieval", "protocol"),
    Paper("knn-revisit", 144, "Rethinking Nearest Neighbors for Visual Classification", 2021, "2112.08459", "any", "retrieval", "readout", "vergence.use.knn_revisit:fit"),
    Paper("raid", 181, "RAID: A Relation-Augmented Image Descriptor", 2016, "1510.01113", "image", "retrieval", "readout"),
    Paper("sscd", 199, "A Self-Supervised Descriptor for Image Copy Detection", 2022, "2202.10261", "image", "retrieval", "learner", "vergence.methods.image.sscd:SSCD"),
)
# fmt: on
