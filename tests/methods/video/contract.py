"""The encoder that the contract is asked on where a method names none that is its own."""

ENCODER = {"name": "c3d-small", "width": 8, "frames": 4}
