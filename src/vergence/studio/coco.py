"""Pictures of a selection as COCO: names, sizes, and what each has in a column as its category."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.studio.originals import Originals


def coco(store: Store, originals: Originals, rows: np.ndarray, column: str) -> bytes:
    """Return the pictures of rows as a file of COCO.

    Each picture has ``file_name`` (its id, which is its path in the folder that was embedded), ``width`` and
    ``height``, read from the picture itself. A value that it has in ``column`` is a category of it, with a
    box around the whole picture; where there is no such column of text, its class is.

    Args:
        store: Opened.
        originals: Of its pictures.
        rows: ``(m,)`` of it.
        column: Of tags.

    Raises:
        BadInput: If a row has no picture that can be read now.
    """
    schema = store.table.schema
    text = column in schema.names and pa.types.is_string(schema.field(column).type)
    about = store.read(["id", column if text else "class"]).take(pa.array(rows)).to_pydict()
    names, tags = about.values()
    categories = {tag: i + 1 for i, tag in enumerate(sorted({tag for tag in tags if tag is not None}))}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for row, name, tag in zip(rows.tolist(), names, tags, strict=True):
        try:
            width, height = originals.size(row)
        except BadInput as error:
            raise BadInput(f"COCO lists pictures with their sizes: {error}") from None
        images.append({"id": row + 1, "file_name": name, "width": width, "height": height})
        if tag is not None:
            box = {"bbox": [0, 0, width, height], "area": width * height, "segmentation": [], "iscrowd": 0}
            of = {"id": len(annotations) + 1, "image_id": row + 1, "category_id": categories[tag]}
            annotations.append(of | box)
    kinds = [{"id": i, "name": tag, "supercategory": ""} for tag, i in categories.items()]
    return json.dumps({"images": images, "annotations": annotations, "categories": kinds}).encode("ascii")
