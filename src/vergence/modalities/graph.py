"""Graphs: the nodes of one, or a set of them; molecules, hypergraphs, shapes as clouds of points."""

from vergence.core.modality import Modality

MODALITY = Modality(
    name="graph",
    noun="graphs",
    accepts="a graph (planetoid:DIR/cora, tu:DIR/MUTAG, hetero:DIR/acm, graphsage:DIR/NAME, .edgelist, .gml, "
    ".graphml, .mat, edges:FILE.csv, hyper:FILE, smiles:FILE, temporal:FILE, scaled:GRAPH, karate), shapes "
    "(points:FOLDER, .npy, .xyz, .off, .obj, .ply)",
    example="planetoid:data/cora",
    method="grace",
    encoders="vergence.methods.graph.encoders",
    views="vergence.methods.graph.views",
    example_source="vergence.data.graph.example:example",
    names=("karate",),
    schemes=(
        "edges",
        "planetoid",
        "tu",
        "hetero",
        "graphsage",
        "hyper",
        "smiles",
        "temporal",
        "points",
        "scaled",
    ),
    suffixes=(".edgelist", ".gml", ".graphml", ".mat", ".npy", ".xyz", ".off", ".obj", ".ply"),
    precedence=30,
    open="vergence.data.graph.opening:open_graph",
    open_files="vergence.data.graph.opening:open_files",
    open_folder="vergence.data.graph.opening:open_folder",
    open_object="vergence.data.graph.objects:open_object",
    accepts_objects="graphs of networkx or PyG, one or a list",
    flags={
        "columns": "role of each column of an edge list, as source,target,weight,time,- [else guessed]",
        "features": "csv or parquet file of nodes, the first column their names",
        "labels": "file of a node and its class a line, or a column of --features",
    },
    raw="vergence.methods.graph.raw:raw",
    subject="vergence.reports.graph:subject",
    splits="vergence.evaluate.graph_table:graph_rows",
)
