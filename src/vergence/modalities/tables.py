"""Tables: rows of numbers and categories."""

from vergence.core.modality import Modality

MODALITY = Modality(
    name="tables",
    noun="tables",
    accepts="a table (.csv; table:FILE?label=COLUMN; sklearn:NAME)",
    example="'table:people.csv?label=sick'",
    method="vicreg",
    encoders="vergence.methods.tables.encoders",
    views="vergence.methods.tables.views",
    example_source="vergence.data.tables.example:example",
    schemes=("table", "sklearn"),
    suffixes=(".csv", ".tsv", ".csv.gz"),
    precedence=40,
    open="vergence.data.tables.opening:open_named",
    open_files="vergence.data.tables.opening:open_files",
    open_object="vergence.data.tables.opening:open_object",
    accepts_objects="data frames, arrays or tensors of rows (n, D)",
    flags={
        "categorical": "columns of categories, as a,b [else guessed]",
        "numeric": "columns of quantities, as a,b [else guessed]",
        "label": "column of what is known about an entity or row",
    },
    raw="vergence.methods.tables.raw:raw",
    subject="vergence.reports.tables:subject",
    protocols=("boosting", "linear", "linear_auc", "knn"),
)
