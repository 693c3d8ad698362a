"""``scenes``: flat things of named shapes over a ground, drawn by signed distances, with every truth."""
