"""``vergence mcp``: a table for agents, by the Model Context Protocol."""

from __future__ import annotations

import sys
from pathlib import Path

from vergence.cli.options import Options, add_store
from vergence.cli.output import show
from vergence.core.errors import BadInput, need


def mcp(argv: list[str]) -> None:
    parser = Options(
        "mcp",
        "Serve STORE to agents by the Model Context Protocol: search, where, neighbours, duplicates, "
        "clusters, compare, sample and describe. Without --port it talks to the program that started it, by "
        "standard input and output; with it over HTTP, to this machine only. Nothing is changed without "
        "--write.",
        "vergence mcp photos.lance --pictures photos/",
    )
    add_store(parser)
    parser.add_argument("--column", type=str, default="vector", help="which vectors to search")
    parser.add_argument("--pictures", type=str, help="folder of pictures that may be looked for [else none]")
    parser.add_argument("--port", type=int | None, default=None, help="serve over HTTP; 0 takes a free port")
    parser.add_argument("--write", action="store_true", help="add the tools tag and delete")
    args = parser.read(argv)
    if args.port is not None and not 0 <= args.port <= 65_535:
        raise BadInput(f"--port is a number from 0 to 65535; got {args.port}.")
    folder = None if args.pictures is None else Path(args.pictures)
    if folder is not None and not folder.is_dir():
        raise BadInput(f"--pictures {folder} is not a folder.")
    need("mcp.server", extra="mcp")
    from vergence.mcp.changes import WritingTools
    from vergence.mcp.server import serve_http, serve_stdio
    from vergence.mcp.tools import ReadingTools
    from vergence.store.table import Store

    make = WritingTools if args.write else ReadingTools
    tools = make(Store.open(args.store), column=args.column, pictures=folder)
    if args.port is None:
        print(f"Serving {args.store} over standard input and output (Ctrl-C ends it)", file=sys.stderr)
        return serve_stdio(tools)

    def ready(url: str) -> None:
        show(args, {"url": url, "store": str(args.store), "write": args.write}, f"{url} (Ctrl-C ends it)")

    serve_http(tools, args.port, ready)
