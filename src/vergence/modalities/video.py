"""Videos: files, folders of frames, and generated clips."""

from vergence.core.modality import Modality

MODALITY = Modality(
    name="video",
    noun="videos",
    accepts="a folder of videos, .mp4, .mov, .avi, .webm, .mkv (video:PATH?seconds=2&stride=1), "
    "frames:DIR?fps=25, video:scenes:video",
    example="videos/ --seconds 2",
    encoders="vergence.methods.video.encoders",
    views="vergence.methods.video.views",
    example_source="vergence.data.video.example:example",
    schemes=("video", "frames"),
    suffixes=(
        *(".mp4", ".m4v", ".mov", ".avi", ".webm", ".mkv"),
        *(".mpg", ".mpeg", ".ogv", ".wmv", ".flv", ".3gp"),
    ),
    precedence=15,
    open="vergence.data.video.opening:open_named",
    open_files="vergence.data.video.opening:open_files",
    open_folder="vergence.data.video.opening:open_folder",
    open_object="vergence.data.video.opening:open_object",
    accepts_objects="arrays or tensors of clips (N, T, H, W, 3) or (N, T, 3, H, W)",
    join="vergence.data.video.source:join",
    flags={
        "seconds": "length of a window, in seconds [else 2]",
        "stride": "seconds from the start of a window to that of the next [else one after the other]",
        "fps": "frames a second, of a folder of frames [else 25]",
    },
    raw="vergence.methods.video.raw:raw",
    thumbnail="vergence.data.video.strip:thumbnail",
    subject="vergence.reports.video:Videos",
)
