"""``vergence learn`` and ``vergence demo``."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse.typing import PositiveInt

from vergence import catalog
from vergence.cli.options import Options, config_paths, read_options
from vergence.cli.output import show
from vergence.cli.source_flags import add_source_flags, source_of
from vergence.core.errors import BadInput
from vergence.core.modality import known_modalities, nouns
from vergence.core.run_config import check_run
from vergence.data.opening import check_there
from vergence.data.source_options import source_options

if TYPE_CHECKING:
    from vergence.engine import Run

_INDENT, _WIDEST = 14, 110  # columns of a terminal
_BY_HAND = {"method", "source", "encoder", "out", "resume", "quiet", "callbacks", "options"}


def learn(argv: list[str]) -> None:
    if "--resume" in argv or any(word.startswith("--resume=") for word in argv):
        return _resume(argv)
    method, rest = _method(argv)
    if method is None:
        return _overview(rest)
    paper = catalog.find_trained(method)
    if rest and not rest[0].startswith("-"):
        check_there(rest[0])
    from vergence.train import learn as api
    from vergence.train import method_class

    cls = method_class(method)
    folder = cls.__module__.split(".")[-2]
    taken = [m for m in known_modalities() if m.name == folder] or known_modalities()
    parser = Options(
        f"learn {paper.key}",
        f"Learn with {cls.__name__}: {paper.title} ({paper.year}). "
        f"{(cls.__doc__ or '').strip().splitlines()[0]}",
        f"vergence learn {paper.key} {taken[0].example} --epochs 50 --out runs/{paper.key}",
    )
    accepted = taken[0].accepts if len(taken) == 1 else f"{nouns(taken)}; vergence learn --help lists them"
    parser.add_argument("source", nargs="?", type=str, help=accepted)
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument(
        "--encoder",
        type=str,
        help="untrained: a short name, timm:NAME or package.module:Class [else recipe and data choose]",
    )
    parser.add_argument("--out", type=str, help="folder of the run [else the next free number in runs/]")
    parser.add_argument("--quiet", action="store_true", help="print nothing while learning")
    parser.add_signature(api, skip=_BY_HAND)
    parser.set_defaults(devices="auto")
    add_source_flags(parser)
    parser.add_signature(cls, skip={"encoder"})
    args = parser.read(rest)
    ours = ("config", "json", "method", "source", "modality", *source_options())
    given = {k: v for k, v in args.as_dict().items() if k not in ours}
    source = source_of(args, args.source)
    _leave_busy_cores(args.quiet)
    _done(args, api(paper.key, source, **given))


def _method(argv: list[str]) -> tuple[str | None, list[str]]:
    """Take the method's key from the first word, or from the YAML file of ``--config``."""
    if argv and not argv[0].startswith("-"):
        return argv[0], argv[1:]
    for path in config_paths(argv):
        if named := read_options(path).get("method"):
            return str(named), argv
        raise BadInput(f"{path} names no method: add a line such as `method: simclr`, or give METHOD first.")
    return None, argv


def _overview(argv: list[str]) -> None:
    parser = Options(
        "learn",
        _methods(min(shutil.get_terminal_size().columns, _WIDEST) - 2),
        "vergence learn simclr photos/ --epochs 50 --out runs/photos\n  vergence learn --resume runs/photos",
    )
    parser.add_argument("--resume", metavar="RUN", help="go on with an interrupted run")
    parser.read(argv)
    parser.error("METHOD is missing")


def _methods(width: int) -> str:
    """Lay out the methods by what they learn from, with one to begin with, and what can be learned from."""
    keys: dict[str, list[str]] = {}
    for paper in catalog.PAPERS:
        if paper.trained:
            keys.setdefault(paper.modality, []).append(paper.key)
    *others, last = sorted(keys.pop("any"))
    shared = f"{', '.join(others)} and {last}"
    known = {modality.name: modality for modality in known_modalities()}
    lines = [
        "Learn a representation of unlabelled data: vergence learn METHOD SOURCE [options]",
        "",
        "Not sure which METHOD? Take the line under your kind of data.",
        *textwrap.wrap(f"From data of any kind learn {shared}; from one kind only:", width),
    ]
    for name in dict.fromkeys([*known, *keys]):
        lines += ["", known[name].noun if name in known else name]
        if name in known:
            lines += _entry("take", f"vergence learn {known[name].method} {known[name].example}", width)
        if name in keys:
            lines += _entry("METHOD", ", ".join(sorted(keys[name])), width)
        if name in known:
            lines += _entry("SOURCE", known[name].accepts, width)
    lines += ["", "Options of a method: vergence learn METHOD --help. What each is: vergence papers."]
    return "\n".join(lines)


def _entry(name: str, text: str, width: int) -> list[str]:
    """Set a name before a text that is wrapped beside it."""
    wrapped = textwrap.wrap(text, width - _INDENT, break_long_words=False, break_on_hyphens=False)
    return [f"  {name if i == 0 else '':<{_INDENT - 2}}{line}" for i, line in enumerate(wrapped)]


def _resume(argv: list[str]) -> None:
    parser = Options("learn", "Go on with an interrupted run.", "vergence learn --resume runs/photos")
    parser.add_argument("--resume", type=str, required=True, help="folder of the run")
    parser.add_argument(
        "--workers", type=PositiveInt | None, default=None, help="decoding threads [else one a core]"
    )
    parser.add_argument(
        "--devices",
        type=int | str,
        default="auto",
        help="processes a machine, one a GPU; auto takes every GPU, or one process on a CPU",
    )
    parser.add_argument("--nodes", type=PositiveInt, default=1, help="machines")
    parser.add_argument(
        "--strategy",
        type=Literal["auto", "ddp", "fsdp"] | None,
        default=None,
        help="copy the networks to every process, or give each a part [else the run's]",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing while learning")
    args = parser.read(argv)
    check_run(args.resume)
    from vergence.train import resume

    names = ("devices", "nodes", "strategy", "workers", "quiet")
    _done(args, resume(args.resume, **{name: args[name] for name in names}))


def demo(argv: list[str]) -> None:
    parser = Options(
        "demo",
        "Learn for two minutes at most, measure, embed and look: a run folder with report.html. "
        "Without --data it takes 1,797 real scans of digits that come with the install.",
        "vergence demo --data photos/ --out runs/photos-look",
    )
    parser.add_argument("--data", type=str, default="digits", help="your own data; see vergence learn --help")
    parser.add_argument("--out", type=str, default="vergence-demo", help="folder of the run and its report")
    parser.add_argument("--method", type=str, default="simclr", help="key of a learner")
    parser.add_argument(
        "--epochs",
        type=PositiveInt | None,
        default=None,
        help="passes over the data [else as many as two minutes allow]",
    )
    parser.add_argument("--seed", type=int, default=0, help="of draws, split and training")
    parser.add_argument("--quiet", action="store_true", help="print nothing on the way")
    args = parser.read(argv)
    from vergence.reports.walkthrough import demo as api

    given = {k: v for k, v in args.as_dict().items() if k not in ("config", "json")}
    _leave_busy_cores(args.quiet)
    page = api(**given)
    show(args, {"report": str(page), "run": str(page.parent)}, str(page))


def _leave_busy_cores(quiet: bool) -> None:
    from vergence.engine.devices import leave_busy_cores

    said = leave_busy_cores()
    if said and not quiet:
        print(said, file=sys.stderr)


def _done(args: Any, run: Run) -> None:
    from vergence.engine.distributed import rank

    if rank() > 0:
        return
    last = run.metrics[-1] if run.metrics else {}
    result = {"run": str(run.path), "method": run.config.method, "last": last}
    show(args, result, f"{run.path}")
