"""The runs of record, one file a paper: ``<key with _>.py`` holds ``RECORD = Record(...)``."""
