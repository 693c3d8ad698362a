"""The encoder that the contract is asked on where a method names none that is its own."""

ENCODER = {"name": "resnet-tiny", "width": 16}
