"""``vergence curate``: which samples are worth keeping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vergence.cli.options import Options, add_store_and_column
from vergence.cli.output import count, show
from vergence.core.lists import write_lines

if TYPE_CHECKING:
    from vergence.store.table import Store

_CLASSES = 20  # that a person is shown


def curate(argv: list[str]) -> None:
    parser = Options(
        "curate",
        "Choose the samples of STORE that are worth keeping: balanced, or the most useful to learn from.",
        "vergence curate photos.lance --keep 0.5 --out keep.txt",
    )
    add_store_and_column(parser)
    parser.add_argument(
        "--keep", type=float, default=0.5, help="share, up to 1 (all), or from 2 on number of samples"
    )
    parser.add_argument(
        "--method",
        type=Literal["hkmeans", "sas"],
        default="hkmeans",
        help="hkmeans: even parts of a tree of clusters; sas: in each cluster, what stands for the rest",
    )
    parser.add_argument(
        "--out",
        type=str,
        help="file for the ids that are kept, one a line (one with a line break as a JSON string); a page "
        "with pictures where its name ends in .html",
    )
    parser.add_argument("--seed", type=int, default=0, help="of clusters and of the draw")
    args = parser.read(argv)
    from vergence.engine.files import write_text
    from vergence.store.table import Store
    from vergence.use.curation import curate as api

    store = Store.open(args.store)
    chosen = api(store, args.keep, method=args.method, column=args.column, seed=args.seed)
    if args.out and args.out.endswith(".html"):
        from vergence.cli.store_pages import curated_page

        curated_page(args.out, store, chosen)
    elif args.out:
        write_text(Path(args.out), write_lines(chosen.ids))
    result = {
        "method": args.method,
        "kept": chosen.ids,
        "of": len(store),
        "clusters": [
            {"samples": int(n), "kept": int(m)} for n, m in zip(chosen.before, chosen.after, strict=True)
        ],
        "evenness": dict(zip(("before", "after"), chosen.evenness, strict=True)),
    }
    before, after = (f"{value:.2f}" for value in chosen.evenness)
    text = (
        f"{len(chosen):,} of {count(store, 'sample')} kept, from {count(chosen.before, 'cluster')}. Evenness "
        f"of the clusters' sizes (normalised entropy; 1: sizes are equal): {before} before, {after} after."
    )
    if labels := _kept_of_classes(store, chosen.rows):
        result["classes"] = labels
        text += "".join(
            f"\n{row['class']:>20} {row['kept']:>8,} of {row['samples']:,}" for row in labels[:_CLASSES]
        )
    show(args, result, text + (f"\nThey are listed in {args.out}." if args.out else ""))


def _kept_of_classes(store: Store, rows: np.ndarray) -> list[dict[str, Any]]:
    """Return how many of each known class are kept; nothing where no row has a label."""
    if (labels := store.labels) is None:
        return []
    names, known, kept = store.classes or [], labels[labels >= 0], labels[rows]
    counts = zip(
        *(np.bincount(part, minlength=known.max() + 1) for part in (known, kept[kept >= 0])), strict=True
    )
    return [
        {"class": names[i] if i < len(names) else str(i), "samples": int(n), "kept": int(m)}
        for i, (n, m) in enumerate(counts)
    ]
