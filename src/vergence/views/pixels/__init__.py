"""Views of pixels: colour, geometry, masks and crops, a whole batch at a time where it lies."""
