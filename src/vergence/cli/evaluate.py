"""``vergence measure``, ``audit``, ``report`` and ``bench``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from jsonargparse.typing import PositiveFloat, PositiveInt

from vergence.cli.options import Options
from vergence.cli.output import show
from vergence.cli.source_flags import add_source_flags, source_of
from vergence.core.errors import BadInput
from vergence.core.run_config import check_run
from vergence.data.opening import check_there


def measure(argv: list[str]) -> None:
    parser = Options(
        "measure",
        "Measure the encoder of RUN on labelled data, beside raw pixels and the same encoder untrained. "
        "The table is also kept as measure.json in the run, where the report finds it.",
        "vergence measure runs/photos labelled/ --test held-out/",
    )
    parser.add_argument("run", nargs="?", type=str, help="folder of a finished run")
    parser.add_argument("source", nargs="?", type=str, help="labelled data")
    parser.add_argument(
        "--test", type=str, help="labelled data to judge by [else 30 % of SOURCE are kept back]"
    )
    parser.add_argument(
        "--protocols",
        type=list[str] | str | None,
        default=None,
        help="such as knn,linear; rotation and copies, alone, need no labels [else the usual ones]",
    )
    parser.add_argument("--seed", type=int, default=0, help="of split, draws and k-means")
    add_source_flags(parser)
    args = parser.read(argv)
    check_run(args.run)
    check_there(args.source)
    from vergence.evaluate.table import measure as api
    from vergence.train import open_run

    named = args.protocols
    protocols = tuple(named.replace(",", " ").split() if isinstance(named, str) else named or ())
    run = open_run(args.run)
    known = run.config.source
    source, test = (path and source_of(args, path, known) for path in (args.source, args.test))
    table = api(run, source, test=test, protocols=protocols or None, seed=args.seed, quiet=args.json)
    table.save(run.path / "measure.json")
    show(args, table.to_dict(), str(table).rstrip())


def audit(argv: list[str]) -> None:
    parser = Options(
        "audit",
        "Say how far groups are apart in what ENCODER makes of labelled DATA: right answers, neighbours, "
        "corrupted pictures, edited copies. Labels teach a linear probe; groups only divide what is judged.",
        "vergence audit runs/photos labelled/ --groups people.csv:age --out audit.html",
    )
    parser.add_argument(
        "encoder", nargs="?", type=str, help="folder of a finished run, vergence:NAME or timm:NAME"
    )
    parser.add_argument("source", nargs="?", type=str, help="labelled data; see vergence learn --help")
    parser.add_argument(
        "--groups", type=str, help="FILE.csv:COLUMN, samples' names in the first column, or a target: domain"
    )
    parser.add_argument(
        "--watched", nargs="+", type=str, default=[], help="classes that it harms to be called"
    )
    parser.add_argument(
        "--confidence", type=float, default=0.5, help="of the probe, from which on such a mistake counts"
    )
    parser.add_argument(
        "--places", type=str, help="FILE.csv:LATITUDE,LONGITUDE: to guess where photos are from"
    )
    parser.add_argument(
        "--k", type=PositiveInt, default=5, help="neighbours, and answers, that are looked at"
    )
    parser.add_argument("--seed", type=int, default=0, help="of split, copies and resamples")
    parser.add_argument("--out", type=str, help="page to write")
    add_source_flags(parser)
    args = parser.read(argv)
    if not args.groups:
        raise BadInput("audit needs --groups FILE.csv:COLUMN, or the name of a target such as domain.")
    check_there(args.source)
    if args.out and not Path(args.out).absolute().parent.is_dir():
        raise BadInput(f"--out {args.out} lies in a folder that is not there; make it first.")
    from vergence.evaluate.seeraudit import audit as api
    from vergence.reports.audit_page import as_text, write_audit

    source = source_of(args, args.source)
    result = api(
        args.encoder,
        source,
        args.groups,
        watched=args.watched,
        confidence=args.confidence,
        places=args.places,
        k=args.k,
        seed=args.seed,
    )
    if args.out:
        write_audit(args.out, result, encoder=args.encoder, data=args.source, groups=args.groups)
    show(args, result.to_dict(), as_text(result) + (f"\nThe page is {args.out}." if args.out else ""))


def report(argv: list[str]) -> None:
    parser = Options(
        "report",
        "Write one self-contained page about RUN: curves, health, scores if it was measured, neighbours, "
        "map, clusters, near-duplicates, skipped files.",
        "vergence report runs/photos --out photos.html",
    )
    parser.add_argument("run", nargs="?", type=str, help="folder of a finished run")
    parser.add_argument("--source", type=str, help="data to look at [else what the run learned from]")
    parser.add_argument("--store", type=str, help="its embeddings, where they were made already")
    parser.add_argument("--out", type=str, help="where the page goes [else report.html in the run]")
    args = parser.read(argv)
    check_run(args.run)
    from vergence.evaluate.table import Table
    from vergence.reports import report as api
    from vergence.train import open_run

    run = open_run(args.run)
    saved = run.path / "measure.json"
    page = api(
        run,
        args.source or run.config.source,
        store=args.store,
        table=Table.load(saved) if saved.exists() else None,
        out=args.out,
    )
    show(args, {"report": str(page)}, str(page))


def bench(argv: list[str]) -> None:
    if argv[:1] == ["speed"]:
        return _bench_speed(argv[1:])
    if argv[:1] == ["image"]:
        return _bench_image(argv[1:])
    if argv[:1] == ["cifar10-20min"]:
        return _bench_cifar10(argv[1:])
    if "--all" in argv:
        return _bench_all(argv)
    parser = Options(
        "bench",
        "Repeat the run of record of a paper, with its ablation and several seeds, and write the result: "
        "parity, mechanism and real data. Instead: bench speed (beside other libraries), bench image (all "
        "methods on images at one budget), bench cifar10-20min (what 20 minutes give), bench --all (all "
        "papers).",
        "vergence bench rotnet",
    )
    parser.add_argument("key", nargs="?", type=str, help="of the paper; see vergence papers")
    parser.add_argument(
        "--only",
        type=Literal["parity", "mechanism", "data"] | None,
        default=None,
        help="part to repeat; the rest of the result stays [else all]",
    )
    parser.add_argument("--out", type=str, help="file to write [else benchmarks/results/KEY.json]")
    parser.add_argument("--workers", type=PositiveInt, default=2, help="arms at a time")
    parser.add_argument("--quiet", action="store_true", help="print nothing on the way")
    args = parser.read(argv)
    from vergence.benchmarks.runner import bench as api

    path = Path(api(args.key, only=args.only, out=args.out, workers=args.workers, quiet=args.quiet))
    show(args, json.loads(path.read_text()), str(path))


def _bench_all(argv: list[str]) -> None:
    parser = Options(
        "bench --all",
        "Repeat all runs of record, the longest last, and write their results.",
        "vergence bench --all --changed --list",
    )
    parser.add_argument("--all", action="store_true", help="all papers")
    parser.add_argument("--changed", action="store_true", help="only those whose own code has changed")
    parser.add_argument("--list", action="store_true", help="say what they took, and run nothing")
    parser.add_argument("--workers", type=PositiveInt, default=2, help="arms at a time")
    parser.add_argument("--quiet", action="store_true", help="print nothing on the way")
    args = parser.read(argv)
    from vergence.benchmarks.budget import entries

    every = [entry for entry in entries() if not args.changed or entry.state != "current"]
    if args.list:
        rows = [f"{e.key:16}{_minutes(e.seconds):>9}  {e.date:12}{e.state}" for e in every]
        total = _minutes(sum(e.seconds or 0 for e in every))
        show(args, [asdict(e) for e in every], "\n".join([*rows, f"{len(every)} runs, {total} as published"]))
        return
    from vergence.benchmarks.runner import bench as api

    paths = [api(entry.key, workers=args.workers, quiet=args.quiet) for entry in reversed(every)]
    show(args, [str(path) for path in paths], "\n".join(map(str, paths)))


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:.1f} min"


def _bench_image(argv: list[str]) -> None:
    parser = Options(
        "bench image",
        "Train all methods that tell images apart with one encoder on the same photos, and write k-NN, "
        "linear probe and time of each. What stands in the table already is not trained again.",
        "vergence bench image --only simclr byol --minutes 30",
    )
    parser.add_argument("--only", nargs="+", type=str, default=[], help="keys of methods [else all]")
    parser.add_argument("--seeds", type=PositiveInt, default=3, help="trainings of each")
    parser.add_argument(
        "--minutes", type=PositiveInt | None, default=None, help="begin no training after them [else all]"
    )
    parser.add_argument("--out", type=str, help="file to write [else benchmarks/results/image-table.json]")
    args = parser.read(argv)
    from vergence.benchmarks.image_table import as_text, image_table, rows

    path = image_table(args.only, seeds=args.seeds, minutes=args.minutes, out=args.out, quiet=args.json)
    table = json.loads(path.read_text())
    show(args, table, f"{as_text(rows(table))}\n{path}")


def _bench_cifar10(argv: list[str]) -> None:
    parser = Options(
        "bench cifar10-20min",
        "Train SimCLR on CIFAR-10 for 20 minutes on this machine and judge it by k-NN and a linear probe; "
        "say how many images were seen. Choose settings with --held_out, so that the test images only judge.",
        "vergence bench cifar10-20min --held_out 10000 --decoupled --temperature 0.2",
    )
    parser.add_argument("--minutes", type=PositiveFloat, default=20.0, help="of training")
    parser.add_argument(
        "--small_share", type=float, default=0.0, help="share of the training with views of 24 pixels, not 32"
    )
    parser.add_argument("--temperature", type=PositiveFloat, default=0.1, help="of the contrast")
    parser.add_argument(
        "--decoupled", action="store_true", help="leave the other view out of what it is chosen from"
    )
    parser.add_argument("--ema", type=float | None, default=None, help="decay of an averaged encoder to keep")
    parser.add_argument("--batch", type=PositiveInt, default=256, help="samples a step")
    parser.add_argument("--lr", type=PositiveFloat, default=2e-3, help="peak rate of AdamW")
    parser.add_argument(
        "--held_out", type=int, default=0, help="training photos that judge [else the test's]"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--out", type=str, help="file to write [else benchmarks/results/cifar10_20min.json]")
    args = parser.read(argv)
    from vergence.benchmarks.cifar10_20min import as_text, cifar10_20min

    names = (
        *("minutes", "small_share", "temperature", "decoupled", "ema"),
        *("batch", "lr", "held_out", "seed", "out"),
    )
    result = cifar10_20min(**{name: getattr(args, name) for name in names}, quiet=args.json)
    show(args, result, as_text(result))


def _bench_speed(argv: list[str]) -> None:
    parser = Options(
        "bench speed",
        "Measure how fast vergence works beside its peers, turn by turn in the same run, and write the "
        "results. A peer that is not installed is named and left out.",
        "vergence bench speed --only views photos",
    )
    parser.add_argument("--only", nargs="+", type=str, default=[], help="subjects, such as views [else all]")
    parser.add_argument("--repeats", type=PositiveInt, default=5, help="rounds of each after a warm-up")
    parser.add_argument("--quick", action="store_true", help="as little work as runs, to try it out")
    parser.add_argument("--out", type=str, help="folder to write to [else benchmarks/results]")
    args = parser.read(argv)
    from vergence.benchmarks.speed.harness import speed

    paths = speed(args.only, repeats=args.repeats, quick=args.quick, out=args.out, quiet=args.json)
    show(args, {path.stem: json.loads(path.read_text()) for path in paths}, "\n".join(map(str, paths)))
