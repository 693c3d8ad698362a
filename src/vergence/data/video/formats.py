"""Video formats: which files are videos, by the ends of their names."""

from __future__ import annotations

from vergence.data.image.formats import VIDEOS

SUFFIXES = VIDEOS
# What FFmpeg may take a file for: no playlists, which name other files and addresses.
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegvideo,mpegts,ogg,asf,flv"
PIXELS = 2**26  # of a frame, at most: twice those of 8K


def is_video(name: str) -> bool:
    """Say whether a file's name ends like that of a video that is read.

    >>> is_video("birds/IMG_1.MOV"), is_video("birds.jpg")
    (True, False)
    """
    return name.lower().endswith(SUFFIXES)
