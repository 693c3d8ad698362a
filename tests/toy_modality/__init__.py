"""A modality that the library has never heard of: sequences of words. Nothing else is edited for it."""

from vergence.core.modality import Modality

MODALITY = Modality(
    name="words",
    noun="sequences of words",
    accepts="lines of words (.words)",
    example="poems.words",
    encoders="toy_modality.encoders",
    views="toy_modality.views",
    example_source="toy_modality.data:example",
    schemes=("words",),
    suffixes=(".words",),
    open="toy_modality.data:open_named",
    open_files="toy_modality.data:open_files",
)
