"""Event sequences: logs with an id and a time, MovieLens."""

from vergence.core.modality import Modality

MODALITY = Modality(
    name="events",
    noun="event sequences",
    accepts="an event log (.parquet or .csv; events:FILE?id=COLUMN&time=COLUMN; movielens:DIR)",
    example="events.parquet --id user --time ts",
    method="coles",
    encoders="vergence.methods.events.encoders",
    views="vergence.methods.events.views",
    example_source="vergence.data.events.example:example",
    schemes=("events", "movielens"),
    suffixes=(".parquet", ".csv", ".tsv", ".csv.gz"),
    precedence=20,
    open="vergence.data.events.opening:open_named",
    open_files="vergence.data.events.opening:open_files",
    looks_like="vergence.data.events.read:looks_like_events",
    open_folder="vergence.data.events.opening:open_folder",
    flags={
        "id": "column that says whose event it is [else guessed]",
        "time": "column that says when [else guessed]",
        "categorical": "columns of categories, as a,b [else guessed]",
        "numeric": "columns of quantities, as a,b [else guessed]",
        "label": "column of what is known about an entity or row",
        "labels": "file with --id and --label [else the log]",
    },
    raw="vergence.methods.events.aggregates:raw",
    subject="vergence.reports.events:subject",
    protocols=("boosting", "linear", "linear_auc", "knn"),
)
