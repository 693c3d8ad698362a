"""Event sequences: logs with an id and a time, MovieLens."""

from vergence.core.modality import Modality

MODALITY = Modality(
    name="events",
    noun="event sequences",
    accepts="an event log (.parquet or .csv; events:FILE?id=COLUMN&time=COLUMN; movielens:DIR)",
    example="events.parquet --id user --time ts",
    encoders="vergence.methods.events.encoders",
    views="vergence.methods.events.views",
    example_source="vergence.data.events.example:example",
    schemes=("events", "movielens"),
    suffixes=(".parquet", ".csv", ".tsv", ".csv.gz"),
    precedence=20,
    open="vergence.data.events.opening:open_named",
    open_files="vergence.data.events.opening:open_files",
    open_folder="vergence.data.events.opening:open_folder",
)
