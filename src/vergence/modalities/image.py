"""Images: folders, parquet files, tar shards and named sets."""

from vergence.core.modality import Modality

MODALITY = Modality(
    name="image",
    noun="images",
    accepts="a folder of images, .parquet, .tar (or x-{000..003}.tar), torchvision:NAME, hf:NAME, digits, "
    "scenes, shapes3d",
    example="photos/",
    encoders="vergence.methods.image.encoders",
    views="vergence.methods.image.views",
    example_source="vergence.data.image.example:example",
    names=("digits", "scenes", "shapes3d"),
    schemes=("torchvision", "hf", "scenes", "shapes3d"),
    suffixes=(
        *(".parquet", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"),
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".heic", ".heif", ".hif"),
        *(".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga", ".ico"),
    ),
    precedence=10,
    open="vergence.data.image.opening:open_named",
    open_files="vergence.data.image.opening:open_files",
    open_folder="vergence.data.image.opening:open_folder",
    open_object="vergence.data.image.memory:open_object",
    accepts_objects="arrays or tensors of images (N, H, W, 3) or (N, 3, H, W), uint8 or float in [0, 1], "
    "lists of PIL images, map-style data sets of torch, data sets of Hugging Face",
    join="vergence.data.image.joined:join",
    raw="vergence.methods.image.raw:raw",
    thumbnail="vergence.data.image.decode:thumbnail",
    subject="vergence.reports.subject:Images",
)
