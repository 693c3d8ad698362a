"""Images: folders, parquet files, tar shards and named sets, read and decoded."""
