"""Papers on video: correspondence, tracking, order, prediction."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("crw", 14, "Space-Time Correspondence as a Contrastive Random Walk", 2020, "2006.14613", "video", "correspondence", "learner", "vergence.methods.video.crw:CRW"),
    Paper("mas", 73, "Self-supervised Spatio-temporal Representation Learning for Videos by Predicting Motion and Appearance Statistics", 2019, "1904.03597", "video", "representation", "learner", "vergence.methods.video.mas:MAS"),
    Paper("iic", 76, "Self-supervised Video Representation Learning Using Inter-intra Contrastive Framework", 2020, "2008.02531", "video", "representation", "learner", "vergence.methods.video.iic:IIC"),
    Paper("timecycle", 80, "Learning Correspondence from the Cycle-Consistency of Time", 2019, "1903.07593", "video", "correspondence", "learner", "vergence.methods.video.timecycle:TimeCycle"),
    Paper("fgvc", 83, "Learning Fine-Grained Features for Pixel-wise Video Correspondences", 2023, None, "video", "correspondence", "learner"),
    Paper("odct", 92, "Online Deep Clustering with Video Track Consistency", 2022, "2206.03086", "video", "representation", "learner", "vergence.methods.video.odct:ODCT"),
    Paper("gmrw", 104, "Self-Supervised Any-Point Tracking by Contrastive Random Walks", 2024, "2409.16288", "video", "correspondence", "learner", "vergence.methods.video.gmrw:GMRW"),
    Paper("scaling4d", 110, "Scaling 4D Representations", 2024, "2412.15212", "video", "representation", "learner", "vergence.methods.video.scaling4d:Scaling4D"),
    Paper("scale", 116, "Spatio-Temporal Crop Aggregation for Video Representation Learning", 2023, "2211.17042", "video", "representation", "learner"),
    Paper("visage", 121, "VISAGE: Video Instance Segmentation with Appearance-Guided Enhancement", 2024, "2312.04885", "video", "objects", "readout", "vergence.use.visage:follow_objects"),
    Paper("cubicpuzzles", 140, "Self-Supervised Video Representation Learning with Space-Time Cubic Puzzles", 2019, "1811.09795", "video", "representation", "learner", "vergence.methods.video.cubicpuzzles:CubicPuzzles"),
    Paper("labelprop", 150, "Transfer of Representations to Video Label Propagation: Implementation Factors Matter", 2022, "2203.05553", "video", "correspondence", "readout", "vergence.use.labelprop:track_masks"),
    Paper("mcn", 152, "Multimodal Clustering Networks for Self-supervised Learning from Unlabeled Videos", 2021, "2104.12671", "video", "representation", "learner"),
    Paper("drlperm", 155, "Improving Spatiotemporal Self-Supervision by Deep Reinforcement Learning", 2018, "1807.11293", "video", "representation", "learner"),
    Paper("vjepa", 163, "Revisiting Feature Prediction for Learning Visual Representations from Video", 2024, "2404.08471", "video", "representation", "learner", "vergence.methods.video.vjepa:VJEPA"),
    Paper("moog", 198, "Moving Off-the-Grid: Scene-Grounded Video Representations", 2024, "2411.05927", "video", "representation", "learner"),
)
# fmt: on
