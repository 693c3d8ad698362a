"""``vergence curate``: which samples are worth keeping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vergence.cli.options import Options, add_store_and_column
from vergence.cli.output import count, show
from vergence.core.errors import BadInput
from vergence.core.lists import write_lines

if TYPE_CHECKING:
    from vergence.store.table import Store
    from vergence.use.hkmeans import Curated
    from vergence.use.sas import Subset

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

    store = Store.open(args.store)
    keep = _share_or_number(args.keep, len(store))
    chosen: Curated | Subset
    if args.method == "sas":
        from vergence.use.sas import select

        chosen = select(store, keep, column=args.column, seed=args.seed)
    else:
        from vergence.use.hkmeans import curate as api

        chosen = api(store, keep, column=args.column, seed=args.seed)
    names = store.names
    kept = [names[row] for row in chosen.rows]
    if args.out and args.out.endswith(".html"):
        from vergence.cli.store_pages import curated_page

        curated_page(args.out, store, chosen)
    elif args.out:
        write_text(Path(args.out), write_lines(kept))
    result = {
        "method": args.method,
        "kept": kept,
        "of": len(store),
        "clusters": [
            {"samples": int(n), "kept": int(m)} for n, m in zip(chosen.before, chosen.after, strict=True)
        ],
        "evenness": {"before": _evenness(chosen.before), "after": _evenness(chosen.after)},
    }
    before, after = (f"{value:.2f}" for value in result["evenness"].values())
    text = (
        f"{len(kept):,} of {count(names, 'sample')} kept, from {count(chosen.before, 'cluster')}. Evenness "
        f"of the clusters' sizes (normalised entropy; 1: sizes are equal): {before} before, {after} after."
    )
    if labels := _kept_of_classes(store, chosen.rows):
        result["classes"] = labels
        text += "".join(
            f"\n{row['class']:>20} {row['kept']:>8,} of {row['samples']:,}" for row in labels[:_CLASSES]
        )
    show(args, result, text + (f"\nThey are listed in {args.out}." if args.out else ""))


def _share_or_number(keep: float, of: int) -> int:
    """Return how many rows a share in (0, 1], or a whole number from 2 on, asks for."""
    if 0 < keep <= 1:
        return max(1, round(keep * of))
    if keep < 2 or keep != int(keep):
        raise BadInput(f"--keep is a share in (0, 1] or a whole number from 2 on; got {keep:g}.")
    return int(keep)


def _evenness(sizes: np.ndarray) -> float:
    """Return the entropy of the sizes as a share of the largest there could be."""
    shares = sizes[sizes > 0] / sizes.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(sizes))) if len(sizes) > 1 else 1.0


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
