"""Walks by pecanpy and skip-gram by gensim, in an interpreter of their own: pecanpy needs numpy 1.

Run by ``walks`` as a script: ``python _pecanpy.py GRAPH P Q WALKS LENGTH WINDOW WORKERS``; WINDOW 0 makes
walks only. Each line that comes asks for a round, and its seconds and CPU seconds are answered as JSON.
"""

import json
import os
import sys
import time


def main() -> None:
    from pecanpy import pecanpy

    path, p, q = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    walks, length, window, workers = map(int, sys.argv[4:])
    graph = pecanpy.SparseOTF(p=p, q=q, workers=workers, verbose=False)
    graph.read_edg(path, weighted=False, directed=False)
    if window:
        from gensim.models import Word2Vec
    print("{}", flush=True)
    for _ in sys.stdin:
        busy, began = sum(os.times()[:4]), time.perf_counter()
        made = graph.simulate_walks(num_walks=walks, walk_length=length)
        if window:
            Word2Vec(made, vector_size=128, window=window, min_count=0, sg=1, workers=workers, epochs=1)
        seconds, cpu = time.perf_counter() - began, sum(os.times()[:4]) - busy
        print(json.dumps({"seconds": seconds, "cpu": cpu}), flush=True)


if __name__ == "__main__":
    main()
