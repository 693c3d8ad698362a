"""Methods that find edges, boundaries and lines in images."""
