"""Picture formats: which files are pictures, by the ends of their names or by their first bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".heic", ".heif", ".hif"),
    *(".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga", ".ico"),
)
# Pictures that are not read, which is said: camera raw, drawings, layers, what Pillow has no decoder for.
UNREAD = frozenset(
    (
        *(".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw"),
        *(".svg", ".eps", ".ai", ".psd", ".psb", ".xcf", ".jxl", ".jxr", ".exr", ".hdr", ".fits"),
    )
)
VIDEOS = (  # another modality reads them
    *(".mp4", ".m4v", ".mov", ".avi", ".webm", ".mkv"),
    *(".mpg", ".mpeg", ".ogv", ".wmv", ".flv", ".3gp"),
)
_NO_PICTURES = frozenset(
    (
        *(".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".log", ".ini"),
        *(".py", ".npy", ".npz", ".mat", ".pkl", ".pt", ".pth", ".safetensors", ".parquet", ".arrow", ".h5"),
        *(".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".pdf", ".db", ".cls"),
        *(".mp3", ".wav", ".flac", ".ply", ".off", ".obj", ".nii"),
        *VIDEOS,
    )
)
HEAD = 64  # bytes of a file that tell its format
_TRIED = 32  # files of one unknown suffix, before the others count as no pictures either
_STARTS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ",
)  # fmt: skip
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes


def is_picture(name: str) -> bool:
    """Say whether a file's name ends like that of a picture that is read."""
    return name.lower().endswith(SUFFIXES)


def is_heic(head: bytes | memoryview) -> bool:
    """Say whether a file that begins with ``head`` is HEIC, as phones write it."""
    return bytes(head[4:8]) == b"ftyp" and bytes(head[8:12]) in _HEIC


def begins_like_picture(head: bytes) -> bool:
    """Say whether a file that begins with ``head`` is a picture in a format that its first bytes tell.

    >>> begins_like_picture(b"GIF89a..."), begins_like_picture(b"BMX bikes and more")
    (True, False)
    """
    if head.startswith(_STARTS) or is_heic(head):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[:2] == b"BM":
        return head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in _BMP_HEADERS
    return head[4:12] in (b"ftypavif", b"ftypavis")


def pictures_among(names: Sequence[str], head: Callable[[str], bytes]) -> list[str]:
    """Return those of some files that are pictures, in their order.

    Where a name does not tell, the first bytes do: of every file without a suffix, and of those with an
    unknown one.

    Args:
        names: Paths of files.
        head: Returns the first ``HEAD`` bytes of one, or as many as there are.
    """
    chosen = {name for name in names if is_picture(name)}
    groups = defaultdict(list)
    for name in names:
        suffix = suffix_of(name)
        if name not in chosen and suffix not in UNREAD and suffix not in _NO_PICTURES:
            groups[suffix].append(name)
    for suffix, group in groups.items():
        tried = group if not suffix else group[:: max(1, len(group) // _TRIED)]
        some = {name for name in tried if begins_like_picture(head(name))}
        if some and len(tried) < len(group):
            some = {name for name in group if begins_like_picture(head(name))}
        chosen |= some
    return [name for name in names if name in chosen]


def suffix_of(name: str) -> str:
    """Return the end of a file's name, in lower case.

    >>> suffix_of("a.b/IMG_1.JPG"), suffix_of("a.b/IMG_1")
    ('.jpg', '')
    """
    return PurePosixPath(name).suffix.lower()
