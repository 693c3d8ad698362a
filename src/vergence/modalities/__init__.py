"""One file a modality: its ``MODALITY`` says all that the rest of the library knows of it."""
