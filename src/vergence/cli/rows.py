"""``vergence export``, ``import``, ``update``, ``rate`` and ``delete``: work on the rows of a table."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vergence.cli.options import Options, add_store, add_store_and_column
from vergence.cli.output import show
from vergence.core.errors import BadInput
from vergence.core.lists import line, read_lines
from vergence.core.run_config import check_run

if TYPE_CHECKING:
    from vergence.store.table import Store

_ENDS = 5  # rows at either end of a rating that are shown
_ASKED = 0.25  # share of the rows above which a deletion needs --yes


def export(argv: list[str]) -> None:
    parser = Options(
        "export",
        "Write rows of STORE to one file: .parquet (all columns), .npz, .npy (vectors alone), or .json as "
        "FiftyOne writes it. With --atlas, write its map for embedding-atlas. With --to, write the encoder "
        "of RUN for use without vergence.",
        "vergence export photos.lance cats.parquet --where \"class = 'cat'\"\n"
        "  vergence export photos.lance --atlas photos.parquet\n"
        "  vergence export runs/photos --to onnx --out photos.onnx",
    )
    parser.add_argument(
        "store", nargs="?", type=str, help="table that vergence embed wrote, or with --to a run"
    )
    parser.add_argument("file", nargs="?", type=str, default="", help="file to write; its ending says how")
    parser.add_argument("--where", type=str, help="SQL condition on the rows [else all]")
    parser.add_argument(
        "--atlas", type=str, help="Parquet file to write with the map and each row's neighbours"
    )
    parser.add_argument("--column", type=str, help="with --atlas: which vectors [else vector]")
    parser.add_argument(
        "--to",
        type=Literal["onnx", "torch", "timm", "hub"] | None,
        default=None,
        help="the encoder of a run, as ONNX, a program of torch.export, timm's state dict, or a folder with "
        "weights, configuration and card",
    )
    parser.add_argument("--out", type=str, help="with --to: file or folder to write [else inside the run]")
    args = parser.read(argv)
    if args.to:
        return _export_encoder(args)
    if args.atlas:
        return _export_atlas(args)
    if args.out or args.column or not args.file:
        raise BadInput(
            "Rows go to a FILE, the second word; --out goes with --to and a run, --column with --atlas."
        )
    store = _opened(args.store)
    path = store.export(args.file, where=args.where)
    rows = len(store) if args.where is None else len(store.where(args.where))
    show(args, {"file": str(path), "rows": rows}, f"{path}: {rows:,} rows")


def _export_atlas(args: Any) -> None:
    if args.file or args.out:
        raise BadInput("--atlas names the file that is written: leave FILE and --out out.")
    from vergence.studio.atlas import export_atlas

    made = export_atlas(_opened(args.store), args.atlas, where=args.where, column=args.column or "vector")
    result = {"file": str(made.path), "rows": made.rows, "open": made.command}
    show(args, result, f"{made.path}: {made.rows:,} rows with x, y and neighbours. Open it: {made.command}")


def _export_encoder(args: Any) -> None:
    if args.file or args.where or args.atlas or args.column:
        raise BadInput(
            "--to exports the encoder of a run: leave FILE and --where out, and --atlas; --out says "
            "where it goes."
        )
    check_run(args.store)
    from vergence.engine.encoders import open_run

    path = open_run(args.store).export(args.to, out=args.out)
    size = sum(
        file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()
    )
    text = f"{path}: {args.to}, {size / 1e6:,.1f} MB, answers as the encoder does"
    show(args, {"file": str(path), "format": args.to, "bytes": size}, text)


def import_(argv: list[str]) -> None:
    parser = Options(
        "import",
        "Make a table of FILE: .parquet or .json with the columns id and vector, .npz with arrays ids and "
        "vector, or .npy.",
        "vergence import cats.parquet --out cats.lance",
    )
    parser.add_argument("file", nargs="?", type=str, help="what vergence export or another tool wrote")
    parser.add_argument("--out", type=str, help="where the table goes [else beside FILE]")
    parser.add_argument("--overwrite", action="store_true", help="replace a table that is there")
    args = parser.read(argv)
    from vergence.store.table import Store

    out = args.out or Path(args.file).with_suffix(".lance")
    store = Store.read_file(args.file, out, overwrite=args.overwrite)
    result = {"store": str(store.path), "samples": len(store), "columns": store.table.schema.names}
    text = f"{store.path}: {len(store):,} samples, {store.width()} numbers each"
    if renamed := store.about["info"].get("renamed"):
        result["renamed"] = renamed
        text += "".join(f"\nThe column {name} is called {own}." for name, own in renamed.items())
    show(args, result, text)


def rate(argv: list[str]) -> None:
    parser = Options(
        "rate",
        "Rate every row of STORE by examples of good and bad in it: above 0.5 it is more like the good ones. "
        "The ratings become a column, by which rows can be chosen and the studio's map coloured.",
        "vergence rate photos.lance --good \"class = 'sharp'\" --bad \"class = 'blurred'\" --into quality",
    )
    add_store_and_column(parser)
    parser.add_argument("--good", type=str, required=True, help="SQL condition of the good examples")
    parser.add_argument("--bad", type=str, required=True, help="SQL condition of the bad examples")
    parser.add_argument("--into", type=str, default="rating", help="name of the column")
    parser.add_argument("--temperature", type=float, default=0.1, help="above 0; lower spreads ratings")
    args = parser.read(argv)
    from vergence.use.quasar import rate as api

    store = _opened(args.store)
    ratings = api(store, good=args.good, bad=args.bad, temperature=args.temperature, column=args.column)
    order = (-ratings).argsort()[: len(store.present(args.column))]  # the rows without a vector come last
    best, worst = (
        [[name, round(float(score), 4)] for name, score in zip(names, ratings[end], strict=True)]
        for end in (order[:_ENDS], order[::-1][:_ENDS])
        for names in [store.take(end, ["id"])["id"].to_pylist()]
    )
    store.set_column(args.into, ratings)
    lines = [f"{score:.4f}  {line(name)}" for name, score in best]
    lines += ["…", *(f"{score:.4f}  {line(name)}" for name, score in reversed(worst))]
    lines.append(f"{len(order):,} rows are rated in the column {args.into} of {store.path}.")
    result = {"store": str(store.path), "column": args.into, "rated": len(order)}
    show(args, {**result, "best": best, "worst": worst}, "\n".join(lines))


def update(argv: list[str]) -> None:
    parser = Options(
        "update",
        "Give rows of STORE a new value in one column. The version before stays readable.",
        "vergence update photos.lance --set label=3 --ids cat/1.png,cat/7.png",
    )
    parser.add_argument("--set", type=str, help="COLUMN=VALUE; nothing after = is null")
    _rows_of_store(parser)
    args = parser.read(argv)
    name, equals, text = (args.set or "").partition("=")
    if not equals:
        raise BadInput("update needs --set COLUMN=VALUE, such as --set label=3.")
    store = _opened(args.store)
    ids = _ids(store, args.ids, args.where)
    store.update(ids, {name: [_value(store, name, text)] * len(ids)})
    result = {"rows": len(ids), "version": store.version}
    show(args, result, f"{len(ids):,} rows changed; {args.store} is at version {store.version}.")


def delete(argv: list[str]) -> None:
    parser = Options(
        "delete",
        "Take rows out of STORE. More than a quarter of them go only with --yes. The version before stays "
        "readable.",
        "vergence delete photos.lance --where \"class = 'blurred'\"",
    )
    _rows_of_store(parser)
    parser.add_argument("--yes", action="store_true", help="delete even more than a quarter of the rows")
    args = parser.read(argv)
    store = _opened(args.store)
    before, known = len(store), set(store.names)
    ids = list(dict.fromkeys(_ids(store, args.ids, args.where)))
    present = [name for name in ids if name in known]
    if len(present) > _ASKED * before and not args.yes:
        raise BadInput(
            f"This takes {len(present):,} of the {before:,} rows of {args.store}; repeat it with --yes to "
            "delete so many."
        )
    gone, missing = store.delete(present), len(ids) - len(present)
    result = {"deleted": gone, "of": before, "left": len(store), "missing": missing, "version": store.version}
    text = f"{gone:,} of {before:,} rows deleted, {len(store):,} left; version {store.version}."
    show(args, result, text + (f" {missing:,} of the ids are not in the store." if missing else ""))


def _rows_of_store(parser: Options) -> None:
    add_store(parser)
    parser.add_argument(
        "--ids",
        type=str,
        help="which rows: ids with commas between (one that holds a comma in double quotes), or @FILE of one "
        "a line, as curate and the studio write it",
    )
    parser.add_argument("--where", type=str, help="SQL condition on the rows, such as \"class = 'cat'\"")


def _opened(path: str) -> Store:
    from vergence.store.table import Store

    return Store.open(path)


def _ids(store: Store, ids: str | None, where: str | None) -> list[str]:
    if (ids is None) == (where is None):
        raise BadInput("Say which rows: either --ids or --where.")
    if where is not None:
        return store.take(store.where(where), ["id"])["id"].to_pylist()
    assert ids is not None
    if not ids.startswith("@"):
        return _separated(ids)
    if not Path(ids[1:]).is_file():
        raise BadInput(f"There is no file {ids[1:]} of ids.")
    try:
        return read_lines(Path(ids[1:]).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise BadInput(f"{ids[1:]} is not text in UTF-8; save it so.") from None


def _separated(ids: str) -> list[str]:
    """Return ids that have commas between, as in one row of a csv."""
    try:
        (row,) = csv.reader([ids], strict=True)
    except (csv.Error, ValueError):
        raise BadInput(
            f"--ids {ids}: put ids that hold commas or quotes into a file and give --ids @FILE."
        ) from None
    return row


def _value(store: Store, name: str, text: str) -> object:
    """Read a word as the column's kind."""
    import pyarrow as pa

    if name not in store.table.schema.names or text == "":
        return None
    kind = store.table.schema.field(name).type
    try:
        return pa.scalar(text).cast(kind).as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise BadInput(f"{name} of {store.path} is {kind}; '{text}' is not.") from None
