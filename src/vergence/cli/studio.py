"""``vergence studio``: a page to look at a store with."""

from __future__ import annotations

import sys

from vergence.cli.options import Options
from vergence.cli.output import show
from vergence.core.errors import BadInput


def studio(argv: list[str]) -> None:
    parser = Options(
        "studio",
        "Open a page to look at STORE with: a map, neighbours, near-duplicates, clusters and what sets two "
        "parts apart. STORE may be a file of your own vectors (.npy, .npz, .parquet, .json), beside which a "
        "store is made. The page is served to this machine only; Ctrl-C ends it.",
        "vergence studio photos.lance\n  vergence studio vectors.npy --images photos/\n"
        "  vergence studio --table rows.parquet --vector embedding",
    )
    parser.add_argument("store", nargs="?", type=str, default="", help="table that vergence embed wrote")
    parser.add_argument("--images", type=str, help="folder with a picture for every vector of a file")
    parser.add_argument("--table", type=str, help="parquet file of rows, or of further columns for a .npy")
    parser.add_argument("--vector", type=str, help="column of vectors in a file [else vector]")
    parser.add_argument("--column", type=str, default="vector", help="which vectors to look at")
    parser.add_argument("--x", type=str, help="column that the map shows to the right [else a layout]")
    parser.add_argument("--y", type=str, help="column that it shows upwards; goes with --x")
    parser.add_argument("--port", type=int, default=7860, help="where the page is found; 0 takes a free one")
    parser.add_argument("--no_browser", action="store_true", help="do not open the page in a browser")
    args = parser.read(argv)
    if not 0 <= args.port <= 65_535:
        raise BadInput(f"--port is a number from 0 to 65535; got {args.port}.")
    if not (args.store or args.table):
        parser.error("arguments are required: store")
    if (args.x is None) != (args.y is None):
        raise BadInput("--x and --y go together: give the columns for both.")
    from vergence.studio.app import launch
    from vergence.studio.own import open_or_import

    path, table = (args.store, args.table) if args.store else (args.table, None)
    store = open_or_import(path, vector=args.vector, table=table, images=args.images)
    if not args.json:
        print(f"Reading {len(store):,} samples ...", file=sys.stderr)

    def ready(url: str) -> None:
        show(args, {"url": url, "store": str(store.path), "samples": len(store)}, f"{url} (Ctrl-C ends it)")

    axes = None if args.x is None else (args.x, args.y)
    launch(store, column=args.column, axes=axes, port=args.port, browser=not args.no_browser, ready=ready)
