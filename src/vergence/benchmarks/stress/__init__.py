"""Long checks at full size: kills, faults, fuzzing, hostile files, large data; run with ``python -m``."""
