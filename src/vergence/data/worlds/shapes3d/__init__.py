"""Solids of ten kinds that look different from every side, seen by any camera, with every truth of them."""
