"""The studio's page: gradio's tabs, fields and buttons around what our own script draws."""

from __future__ import annotations

import contextlib
import socket
import threading
import webbrowser
from collections.abc import Callable
from functools import partial
from typing import Any

from markupsafe import Markup

from vergence.core.errors import BadInput, VergenceError, need
from vergence.store.table import Store
from vergence.studio import contrast
from vergence.studio.encoder_session import LARGEST
from vergence.studio.session import Session
from vergence.use.copies import By

HOST = "127.0.0.1"
_HEAD = """
<link rel="stylesheet" href="studio/static/studio.css">
<link rel="modulepreload" href="studio/static/map.js">
<link rel="modulepreload" href="studio/static/projection.js">
<link rel="modulepreload" href="studio/static/review.js">
<link rel="modulepreload" href="studio/static/shared.js">
<script>
window.studio = {
  waiting: [],
  mount(name, element) { this.waiting.push([name, element]); },
  early: { state: fetch("studio/state"), map: fetch("studio/map"), colour: fetch("studio/colour") },
};
</script>
<script type="module" src="studio/static/studio.js"></script>
"""
_WATCH = "() => window.studio.watch()"  # lets the head of the page say what is being done
_FOUND_BY = [
    ("their own neighbours: nearer than chance explains", "neighbours"),
    ("a least cosine", "cosine"),
    ("a perceptual hash of the pictures", "hash"),
    ("equal pictures", "pixels"),
]
_EXAMPLES = 6  # pictures of a side in a cluster
_ROWS = 40  # clusters of a comparison that are shown


def launch(
    store: Store,
    *,
    column: str = "vector",
    port: int = 7860,
    browser: bool = True,
    ready: Callable[[str], object] = print,
) -> None:
    """Serve the page of a store to this machine, until it is interrupted.

    Args:
        store: Opened.
        column: Which vectors to look at.
        port: Where; 0 takes a free one.
        browser: Open the page in a browser.
        ready: Is given the address as soon as the page can be asked for.

    Raises:
        BadInput: If something else uses the port, or the store has no such vectors.
        MissingExtra: If gradio is not installed.
    """
    need("gradio", extra="studio")
    import uvicorn

    with listening_socket(port) as listening:
        server = uvicorn.Server(
            uvicorn.Config(serving(Session(store, column)), log_level="warning", timeout_graceful_shutdown=1)
        )
        url = f"http://{HOST}:{listening.getsockname()[1]}"
        threading.Thread(target=_announce, args=(server, url, browser, ready), daemon=True).start()
        server.run(sockets=[listening])


def serving(session: Session) -> Any:
    """Return the whole of the page as an ASGI application, and start what it works out in the background."""
    gr = need("gradio", extra="studio")
    from vergence.studio.guard import Guard
    from vergence.studio.web import application

    app = gr.mount_gradio_app(
        application(session),
        page(session),
        path="/",
        server_name=HOST,
        footer_links=[],
        run_history=False,
        max_file_size=0,
        show_error=True,
        head=_HEAD,
        theme=_theme(gr),
    )
    session.start()
    return Guard(app, largest=LARGEST)


def page(session: Session) -> Any:
    """Return the tabs as ``gradio.Blocks``."""
    gr = need("gradio", extra="studio")
    with gr.Blocks(title=f"{session.store.path.name}: vergence studio", analytics_enabled=False) as blocks:
        _ours(gr, "head")
        with gr.Tabs(elem_id="studio-tabs"):
            with gr.Tab("Map"):
                _ours(gr, "map")
            with gr.Tab("Search"):
                _ours(gr, "search")
            with gr.Tab("Duplicates"):
                _duplicates(gr, session)
            with gr.Tab("Clusters"):
                _clusters(gr, session)
            with gr.Tab("Compare"):
                _compare(gr, session)
            with gr.Tab("Why alike"):
                _ours(gr, "why")
    return blocks


def _ours(gr: Any, name: str) -> Any:
    """Leave room for a part of the page that our own script draws."""
    return gr.HTML(
        f'<div class="studio-{name}" aria-busy="true"></div>',
        js_on_load=f'window.studio.mount("{name}", element.querySelector(".studio-{name}"))',
        apply_default_css=False,
    )


def _duplicates(gr: Any, session: Session) -> None:
    with gr.Row(elem_classes="studio-ask"):
        by = gr.Dropdown(_FOUND_BY, value="neighbours", label="Near-duplicates are found by", scale=2)
        threshold = gr.Slider(0.5, 1.0, 0.95, step=0.005, label="Least cosine", visible=False, scale=2)
        button = gr.Button("Find near-duplicates", variant="primary", scale=1)
    status = gr.Markdown("", elem_id="studio-found")

    def find(how: By, least: float) -> str:
        n, review = len(session.store), session.review
        with session.busy(f"Comparing {n:,} samples, each with each"):
            as_page_error(gr, partial(review.find, how, least if how == "cosine" else None))
        rest = f" Of the pairs, the {review.left_out:,} least alike are left out." if review.left_out else ""
        by_chance = "" if review.chance is None else f", about {review.chance:.1f} of them by chance"
        return (
            f"{review.pairs:,} pairs{by_chance}, in {len(review.groups):,} groups around one sample each; if "
            f"only that one stayed, {review.surplus:,} of {n:,} samples would go.{rest}"
        )

    button.click(None, js=_WATCH, api_visibility="private")
    by.change(
        lambda how: gr.Slider(visible=how == "cosine"),
        by,
        threshold,
        api_visibility="private",
        show_progress="hidden",
    )
    button.click(find, [by, threshold], status, api_visibility="private", show_progress="hidden").then(
        None, js="() => window.studio.refresh('review')", api_visibility="private"
    )
    _ours(gr, "review")


def _clusters(gr: Any, session: Session) -> None:
    with gr.Row(elem_classes="studio-ask"):
        k = gr.Number(
            0, precision=0, minimum=0, label="Number of clusters (0: chosen by silhouette)", scale=3
        )
        button = gr.Button("Cluster again (clears the names)", scale=1)
    status = gr.Markdown("")

    def divide(count: float | None) -> str:
        with session.busy(f"Dividing {len(session.store):,} samples into clusters"), session.dividing:
            as_page_error(gr, partial(session.groups.find, int(count) if count else None))
        return f"{len(session.groups)} clusters."

    button.click(None, js=_WATCH, api_visibility="private")
    button.click(divide, k, status, api_visibility="private", show_progress="hidden").then(
        None, js="() => window.studio.refresh('clusters')", api_visibility="private"
    )
    _ours(gr, "clusters")


def _compare(gr: Any, session: Session) -> None:
    columns = session.columns()
    columns = [name for name in columns if name != session.by_cluster]
    if not columns:
        gr.Markdown("The store has no column to divide it by: give labels or metadata when it is made.")
        return
    values = contrast.sides(session.store, columns[0])
    with gr.Row(elem_classes="studio-ask"):
        named = [(session.shown(name), name) for name in columns]
        column = gr.Dropdown(named, value=columns[0], label="Divide by")
        first = gr.Dropdown(values, value=_at(values, 0), label="First side")
        second = gr.Dropdown([contrast.REST, *values], value=contrast.REST, label="Second side")
        button = gr.Button("Compare", variant="primary")
    shown = gr.HTML("", apply_default_css=False, js_on_load=None)

    def offer(name: str) -> tuple[Any, Any]:
        sides = as_page_error(gr, partial(contrast.sides, session.store, name))
        return (
            gr.Dropdown(sides, value=_at(sides, 0)),
            gr.Dropdown([contrast.REST, *sides], value=contrast.REST),
        )

    def compare(name: str, a: str, b: str) -> str:
        return as_page_error(gr, partial(comparison, session, name, a, b))

    column.change(offer, column, [first, second], api_visibility="private")
    button.click(compare, [column, first, second], shown, api_visibility="private")


def comparison(session: Session, column: str, first: str, second: str) -> str:
    """Return two sides of a store compared, as HTML; whatever comes from the store is escaped.

    Raises:
        BadInput: If a side is unknown or empty, or the clusters are not known yet.
    """
    groups = session.groups
    if groups.of is None:
        raise BadInput("The clusters are still being found: ask again in a moment.")
    rows = contrast.rows_of(session.store, column, first, second)
    contrasted = contrast.contrast(session.store.directions(session.column), groups.of, *rows)
    shares = contrasted.shares
    order = sorted(range(len(groups)), key=lambda c: -abs(float(shares[0, c] - shares[1, c])))
    uneven = [int((contrasted.verdicts == side).sum()) for side in (0, 1)]
    lead = Markup(
        "<p class='studio-lead'>By {}: {:,} rows of <b>{}</b> beside {:,} of <b>{}</b>. Of {} clusters, {} "
        "hold more of the first side than chance explains and {} more of the second. The mean directions of "
        "both sides have a cosine of {:.3f}.</p>"
    ).format(
        session.shown(column),
        len(rows[0]),
        first,
        len(rows[1]),
        second,
        len(groups),
        *uneven,
        contrasted.cosine,
    )
    body = Markup("").join(
        Markup(
            "<tr class='{}'><th scope='row'>{}</th><td>{:.1f} %<small>{:,} rows</small></td><td>{:.1f} %"
            "<small>{:,} rows</small></td><td>{}</td><td>{}</td><td>{}</td></tr>"
        ).format(
            ("first", "second", "even")[contrasted.verdicts[c]],
            groups.name(c),
            100 * shares[0, c],
            int(contrasted.counts[0, c]),
            100 * shares[1, c],
            int(contrasted.counts[1, c]),
            ("more of the first", "more of the second", "no clear difference")[contrasted.verdicts[c]],
            *(_strip(session, side[groups.of[side] == c]) for side in rows),
        )
        for c in order[:_ROWS]
    )
    heads = (
        "Cluster",
        "First side",
        "Second side",
        "Verdict",
        "Typical of the first",
        "Typical of the second",
    )
    head = Markup("").join(Markup("<th scope='col'>{}</th>").format(word) for word in heads)
    return str(
        Markup(
            "{}<div class='studio-scroll' tabindex='0'><table class='studio-table'><thead><tr>{}</tr></thead>"
            "<tbody>{}</tbody></table></div>"
        ).format(lead, head, body)
    )


def _strip(session: Session, rows: Any) -> Markup:
    cards = session.cards(session.groups.typical(rows, _EXAMPLES)) if len(rows) else []
    pictures = Markup("").join(
        Markup("<button type='button' class='studio-mini' data-row='{}' title='{}'>{}</button>").format(
            card["row"],
            card["id"],
            Markup("<img alt='{}' src='{}'>").format(card["id"], card["picture"])
            if card["picture"]
            else card["id"],
        )
        for card in cards
    )
    return Markup("<div class='studio-strip'>{}</div>").format(pictures)


def _at(values: list[str], place: int) -> str | None:
    return values[place] if place < len(values) else None


def as_page_error(gr: Any, call: Callable[[], Any]) -> Any:
    """Show a user's mistake on the page as its one line."""
    try:
        return call()
    except VergenceError as error:
        raise gr.Error(str(error), print_exception=False) from None


def _theme(gr: Any) -> Any:
    """Return a theme whose fonts are those of the machine, so that nothing is asked of the network."""
    return gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="zinc",
        radius_size="lg",
        font=["Inter", "Segoe UI", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )


@contextlib.contextmanager
def listening_socket(port: int) -> Any:
    """Listen on a port of this machine, before anything slow is done."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
            listening.listen(128)
        except OSError as error:
            raise BadInput(
                f"Port {port} cannot be used ({(error.strerror or str(error)).lower()}): choose another with "
                "--port, or --port 0 for a free one."
            ) from None
        yield listening


def _announce(server: Any, url: str, browser: bool, ready: Callable[[str], object]) -> None:
    """Say where the page is as soon as it is served."""
    waiting = threading.Event()
    while not server.started:
        if server.should_exit:
            return
        waiting.wait(0.05)
    ready(url)
    if browser:
        webbrowser.open(url)
