"""Methods on videos, their views and encoders."""
