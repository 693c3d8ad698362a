"""Papers on graphs: walks, contrast, masking, diffusion, heterogeneous graphs and hypergraphs."""

from vergence.catalog.paper import Paper

# fmt: off
PAPERS = (
    Paper("mvgrl", 1, "Contrastive Multi-View Representation Learning on Graphs", 2020, "2006.05582", "graph", "representation", "learner", "vergence.methods.graph.mvgrl:MVGRL"),
    Paper("corewalk", 4, "About Graph Degeneracy, Representation Learning and Scalability", 2020, "2009.02085", "graph", "representation", "estimator", "vergence.methods.graph.corewalk:CoreWalk"),
    Paper("supergat", 12, "How to Find Your Friendly Neighborhood: Graph Attention Design with Self-Supervision", 2021, "2204.04879", "graph", "representation", "learner", "vergence.methods.graph.supergat:SuperGAT"),
    Paper("node2vec", 22, "node2vec: Scalable Feature Learning for Networks", 2016, "1607.00653", "graph", "representation", "estimator", "vergence.methods.graph.node2vec:Node2Vec"),
    Paper("bandana", 32, "Masked Graph Autoencoder with Non-discrete Bandwidths", 2024, "2402.03814", "graph", "representation", "learner", "vergence.methods.graph.bandana:Bandana"),
    Paper("jointgraphdiff", 37, "Generative Modeling of Graphs via Joint Diffusion of Node and Edge Attributes", 2024, "2402.04046", "graph", "generation", "learner", "vergence.methods.graph.jointgraphdiff:JointGraphDiff"),
    Paper("gain", 38, "Graph Representation Learning for Road Type Classification", 2021, "2107.07791", "graph", "representation", "learner", "vergence.methods.graph.gain:GAIN"),
    Paper("hypeboy", 45, "HypeBoy: Generative Self-Supervised Representation Learning on Hypergraphs", 2024, "2404.00638", "graph", "representation", "learner", "vergence.methods.graph.hypeboy:HypeBoy"),
    Paper("selftask", 48, "Self-supervised Learning on Graphs: Deep Insights and New Direction", 2020, "2006.10141", "graph", "representation", "learner", "vergence.methods.graph.selftask:SelfTask"),
    Paper("tagraph", 52, "Topologically Attributed Graphs for Shape Discrimination", 2023, "2306.17805", "graph", "representation", "estimator", "vergence.methods.graph.tagraph:TAGraph"),
    Paper("grace", 74, "Deep Graph Contrastive Representation Learning", 2020, "2006.04131", "graph", "representation", "learner", "vergence.methods.graph.grace:GRACE"),
    Paper("neuralfp", 84, "Convolutional Networks on Graphs for Learning Molecular Fingerprints", 2015, "1509.09292", "graph", "representation", "backbone", "vergence.methods.graph.neuralfp:NeuralFP"),
    Paper("graphmae", 86, "GraphMAE: Self-Supervised Masked Graph Autoencoders", 2022, "2205.10803", "graph", "representation", "learner", "vergence.methods.graph.graphmae:GraphMAE"),
    Paper("ehgnn", 129, "Edge Representation Learning with Hypergraphs", 2021, "2106.15845", "graph", "representation", "learner", "vergence.methods.graph.ehgnn:EHGNN"),
    Paper("egnas", 138, "Edge-featured Graph Neural Architecture Search", 2021, "2109.01356", "graph", "representation", "estimator", "vergence.methods.graph.egnas:EGNAS"),
    Paper("smart", 154, "Temporal Generalization Estimation in Evolving Graphs", 2024, "2404.04969", "graph", "analysis", "estimator", "vergence.methods.graph.smart:SMART"),
    Paper("meow", 157, "Heterogeneous Graph Contrastive Learning with Meta-path Contexts and Adaptively Weighted Negative Samples", 2023, "2212.13847", "graph", "representation", "learner", "vergence.methods.graph.meow:MEOW"),
    Paper("fie", 168, "Fisher Information Embedding for Node and Graph Learning", 2023, "2305.07580", "graph", "representation", "estimator", "vergence.methods.graph.fie:FIE"),
    Paper("graphcl", 186, "Graph Contrastive Learning with Augmentations", 2020, "2010.13902", "graph", "representation", "learner", "vergence.methods.graph.graphcl:GraphCL"),
    Paper("gcc", 195, "GCC: Graph Contrastive Coding for Graph Neural Network Pre-Training", 2020, "2006.09963", "graph", "representation", "learner", "vergence.methods.graph.gcc:GCC"),
)
# fmt: on
