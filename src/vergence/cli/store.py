"""``vergence embed``, ``search``, ``duplicates`` and ``clusters``: embeddings and their uses."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse.typing import PositiveInt

from vergence.cli.options import Options, add_store_and_column
from vergence.cli.output import count, show
from vergence.cli.source_flags import add_source_flags, source_of
from vergence.core.errors import BadInput
from vergence.core.lists import line
from vergence.core.run_config import check_run
from vergence.core.specs import BRING_WEIGHTS
from vergence.data.opening import check_there

if TYPE_CHECKING:
    from vergence.data.source import Source
    from vergence.engine.run import Run
    from vergence.store.table import Store

_SHOWN = 20  # groups of duplicates and rows a cluster that a person is shown


def embed(argv: list[str]) -> None:
    parser = Options(
        "embed",
        "Write the embeddings of SOURCE by the encoder of RUN to a Lance table.",
        "vergence embed runs/photos photos/ --out photos.lance",
    )
    parser.add_argument(
        "run", nargs="?", type=str, help="folder of a finished run, or an encoder with weights: timm:NAME"
    )
    parser.add_argument("source", nargs="?", type=str, help="data; see vergence learn --help")
    parser.add_argument("--out", type=str, help="where the table goes [else embeddings.lance in the run]")
    parser.add_argument("--overwrite", action="store_true", help="replace a table that is there")
    parser.add_argument(
        "--workers",
        type=Literal["ray"] | None,
        default=None,
        help="have Ray's workers do it, here or on the cluster that RAY_ADDRESS names; whatever is killed, "
        "the same command goes on [else this process]",
    )
    parser.add_argument("--into", type=str, help="table that holds other embeddings of these samples already")
    parser.add_argument("--column", type=str, help="name of the new vectors in it, such as vector_dinov2")
    add_source_flags(parser)
    args = parser.read(argv)
    if bool(args.into) != bool(args.column) or (args.into and (args.out or args.workers)):
        raise BadInput("--into TABLE goes with --column NAME, and without --out and --workers.")
    with_weights = args.run.startswith(BRING_WEIGHTS)
    if not with_weights:
        check_run(args.run)
    check_there(args.source)
    if with_weights and not (args.out or args.into):
        raise BadInput(f"{args.run} has no folder for the table; say where it goes: --out photos.lance")
    from vergence.data import open as open_source
    from vergence.train import embed as api
    from vergence.train import open_run

    run = None if with_weights else open_run(args.run)
    data = open_source(source_of(args, args.source, "" if run is None else run.config.source))
    if args.into:
        store = _beside(args.into, args.column, args.run if run is None else run, data)
        width = store.width(args.column)
        result = {"store": str(store.path), "samples": len(store), "column": args.column, "width": width}
        return show(args, result, f"{store.path}: {width} numbers each beside the others, in {args.column}")
    for note in data.read_as():
        print(note, file=sys.stderr)
    if run is None:
        store = api(args.run, data, args.out, overwrite=args.overwrite, workers=args.workers)
    else:
        store = run.embed(data, args.out, overwrite=args.overwrite, workers=args.workers)
    skipped = len(store.skipped)
    result = {"store": str(store.path), "samples": len(store), "width": store.width(), "skipped": skipped}
    text = f"{store.path}: {len(store):,} samples, {store.width()} numbers each"
    if skipped:
        text += f"; {skipped:,} could not be read, see {store.path / 'skipped.csv'}"
    show(args, result, text)


def _beside(into: str, column: str, run: Run | str, source: Source) -> Store:
    """Put the embeddings by a run, or by a named encoder with weights, into a table of the same samples."""
    from vergence.engine.embedding import embed
    from vergence.engine.encoders import with_weights
    from vergence.store.table import Store

    store = Store.open(into)
    made = embed(with_weights(run, source) if isinstance(run, str) else run.encoder, source)
    names = [source.names[i] for i in made.index.tolist()]
    if not set(names) & set(store.names):
        raise BadInput(f"{into} holds none of the samples of {source.uri}; their ids begin {names[0]}.")
    model = run if isinstance(run, str) else str(run.path)
    store.add_vectors(column, made.vectors, ids=names, model=model, encoder=made.encoder)
    return store


def search(argv: list[str]) -> None:
    parser = Options(
        "search",
        "Find the samples of STORE most like QUERY: the id or row of one of them, an image file, or a file "
        "of several samples, such as a video, each of which asks.",
        "vergence search photos.lance holiday.jpg --k 5",
    )
    add_store_and_column(parser)
    parser.add_argument("query", nargs="?", type=str, help="id or row of a sample, or path of a file")
    parser.add_argument("--k", type=PositiveInt, default=10, help="how many")
    parser.add_argument(
        "--where", type=str, help="SQL condition on what may be found, such as \"class = 'cat'\""
    )
    parser.add_argument(
        "--metric", type=Literal["cosine", "dot", "euclidean"], default="cosine", help="of likeness"
    )
    parser.add_argument("--approximate", action="store_true", help="answer large tables from an index")
    parser.add_argument(
        "--encoder",
        type=str,
        help="run, or timm:NAME, whose encoder reads an image [else the one that filled STORE]",
    )
    _background(parser)
    _page(parser)
    args = parser.read(argv)
    from vergence.store.table import Store
    from vergence.use.nearest import search as api

    store = Store.open(args.store)
    query = _row_or_name(store, args.query)
    hits = api(
        store,
        query,
        k=args.k,
        where=args.where,
        column=args.column,
        metric=args.metric,
        exact=not args.approximate,
        encoder=args.encoder,
        background=args.background,
    )
    near: list[list[dict[str, Any]]] = [
        [{"id": name, "score": round(float(score), 4)} for name, score in zip(ids, scores, strict=False)]
        for ids, scores in zip(hits.ids, hits.scores, strict=True)
    ]
    several = hits.queries is not None and len(hits) > 1
    lines = []
    for name, own in zip(hits.queries or [""], near, strict=True):
        lines += [f"Like {line(name)}:"] if several else []
        lines += [f"{hit['score']:.4f}  {line(hit['id'])}" for hit in own] or ["Nothing found."]
    result: dict[str, Any] = {"query": args.query}
    if several:
        result["queries"] = [
            {"id": name, "hits": own} for name, own in zip(hits.queries or [], near, strict=True)
        ]
    else:
        result["hits"] = near[0]
    if hits.recall is not None:
        result["recall"] = round(hits.recall, 4)
        lines.append(f"From an index that finds {hits.recall:.0%} of the true ten nearest.")
    if args.out:
        from vergence.cli.store_pages import search_page

        search_page(args.out, store, query, hits)
        lines.append(f"With pictures: {args.out}")
    show(args, result, "\n".join(lines))


def duplicates(argv: list[str]) -> None:
    parser = Options(
        "duplicates",
        "Find the samples of STORE that are nearly the same.",
        "vergence duplicates photos.lance --out copies.html",
    )
    add_store_and_column(parser)
    parser.add_argument(
        "--by",
        type=Literal["neighbours", "cosine", "hash", "pixels"] | None,
        default=None,
        help="neighbours: nearer than chance explains, in vectors and pictures; cosine: of at least "
        "--threshold; hash: perceptual hashes of the pictures; pixels: equal pictures [else neighbours, with "
        "--threshold or --background cosine]",
    )
    parser.add_argument(
        "--threshold",
        type=float | None,
        default=None,
        help="least cosine of two vectors, in (0, 1] [else 0.95, with --background 0.35]; by hash the most "
        "bits of 64 that may differ [else 2]",
    )
    parser.add_argument(
        "--chance", type=float, default=0.05, help="by neighbours: share of what is found that may be chance"
    )
    parser.add_argument("--limit", type=PositiveInt, default=1_000_000, help="pairs that are listed")
    parser.add_argument(
        "--exact",
        action="store_true",
        help="compare all samples even of a table of more than 20,000 (by cosine 200,000); otherwise only "
        "those of neighbouring cells",
    )
    _background(parser)
    _page(parser)
    args = parser.read(argv)
    from vergence.store.table import Store
    from vergence.use.copies import duplicates as api

    store = Store.open(args.store)
    copies = api(
        store,
        by=args.by,
        threshold=args.threshold,
        chance=args.chance,
        column=args.column,
        limit=args.limit,
        background=args.background,
        exact=args.exact or None,
    )
    name = "cosine" if args.background is None else "score"
    names = store.names
    groups = [[names[row] for row in group] for group in copies.groups]
    pairs = [
        {"first": names[a], "second": names[b], name: round(float(s), 4)}
        for (a, b), s in zip(copies.pairs, copies.similarity, strict=True)
    ]
    lines = [f"{len(group):>6}  {_few(group)}" for group in groups[:_SHOWN]]
    lines += (
        [f"… and {len(groups) - _SHOWN} more groups; all of them with --json"] if len(groups) > _SHOWN else []
    )
    lines += [
        f"{count(groups, 'group')}, {count(range(copies.total), 'pair')}; "
        f"{count(copies.surplus, 'sample')} could go. Look at them first: --out copies.html, or "
        f"vergence studio {args.store}."
    ]
    result: dict[str, Any] = {"groups": groups, "pairs": pairs, "total": copies.total}
    if copies.chance is not None:
        result["chance"] = round(copies.chance, 2)
        share = copies.chance / max(copies.total, 1)
        lines.append(f"About {copies.chance:.1f} of these pairs ({share:.0%}) are expected by chance.")
    if copies.recall is not None:
        result["recall"] = round(copies.recall, 4)
        lines.append(f"Neighbouring cells were compared, which finds {copies.recall:.1%} of the pairs.")
    if args.out:
        from vergence.cli.store_pages import duplicates_page

        duplicates_page(args.out, store, copies)
        lines.append(f"With pictures: {args.out}")
    show(args, result, "\n".join(lines))


def clusters(argv: list[str]) -> None:
    parser = Options(
        "clusters",
        "Divide the samples of STORE into groups of like ones.",
        "vergence clusters photos.lance --k 12",
    )
    add_store_and_column(parser)
    parser.add_argument(
        "--k", type=PositiveInt | None, default=None, help="how many [else the number that fits best]"
    )
    parser.add_argument(
        "--alpha",
        type=float | None,
        default=None,
        help="in place of --k: the cosine from which two samples attract each other, such as 0.4; "
        "how many groups there are comes out (multicut)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the starting points")
    _page(parser)
    args = parser.read(argv)
    from vergence.store.table import Store
    from vergence.use.clustering import clusters as api

    store = Store.open(args.store)
    parts = api(store, k=args.k, alpha=args.alpha, column=args.column, seed=args.seed)
    names = store.names
    groups = [[names[row] for row in parts.members(i)] for i in range(len(parts))]
    lines = [f"{i:>4} {len(group):>8}  {_few(group)}" for i, group in enumerate(groups)]
    lines += [
        f"{len(groups)} clusters, silhouette {parts.silhouette:.2f}; the most typical samples come first."
    ]
    if args.out:
        from vergence.cli.store_pages import clusters_page

        clusters_page(args.out, store, parts)
        lines.append(f"With pictures: {args.out}")
    show(args, {"silhouette": parts.silhouette, "clusters": groups}, "\n".join(lines))


def _page(parser: Options) -> None:
    parser.add_argument("--out", type=str, help="page to write, with the samples' pictures")


def _background(parser: Options) -> None:
    parser.add_argument(
        "--background",
        type=str,
        help="table of other samples, which cannot match: what is like them too loses score, so that one "
        "threshold serves all queries",
    )


def _row_or_name(store: Store, query: str) -> int | str:
    """Read a number as a row, unless it is an id."""
    if query.isdecimal() and query not in store.names:
        return int(query)
    return query


def _few(names: list[str]) -> str:
    return ", ".join(map(line, names[:5])) + (", …" if len(names) > 5 else "")
