"""Videos: files by PyAV, folders of frames, arrays and generated clips, read by time."""
