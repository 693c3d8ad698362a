"""Routes of what is done with a selection: seen, tagged, exported, compared, named and deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vergence.core.errors import BadInput
from vergence.studio.against_rest import against_rest
from vergence.studio.coco import coco
from vergence.studio.requests import download, packed, query_of, text, whole, wholes
from vergence.studio.selection import export, media_type, read_mask, write_mask
from vergence.studio.session import Session

MASKED = tuple(f"/studio/{name}" for name in ("tag", "export", "coco", "against", "keep", "delete"))
_SHEET = 60  # samples of a contact sheet
_PICTURES = 100_000  # whose sizes are read for a file of COCO


def selection_routes(get: Callable[..., Route], post: Callable[..., Route]) -> list[Route]:
    """Return the addresses; those of ``MASKED`` are sent a mask of all rows."""
    return [
        post("/studio/cards", _cards, rows=wholes),
        post("/studio/tag", _tag, mask=text, column=text, tag=text),
        post("/studio/untag", _untag),
        post("/studio/export", _export, mask=text, kind=text),
        post("/studio/coco", _coco, mask=text, column=text),
        post("/studio/against", lambda s, mask: against_rest(s.store, _rows(s, mask)), mask=text),
        get("/studio/named", lambda s, _: {"named": s.named.listed()}),
        get("/studio/named-rows", _named_rows),
        post("/studio/keep", _keep, mask=text, name=text),
        post("/studio/forget", _forget, name=text),
        post("/studio/delete", _delete, mask=text, count=whole),
        post("/studio/undelete", _undelete),
    ]


def _rows(session: Session, mask: str) -> Any:
    return read_mask(mask, len(session.store))


def _cards(session: Session, rows: list[int]) -> dict[str, Any]:
    if len(rows) > _SHEET:
        raise BadInput(f"A contact sheet has up to {_SHEET} samples.")
    return {"cards": session.cards(rows)}


def _tag(session: Session, mask: str, column: str, tag: str) -> dict[str, Any]:
    with session.tagging:
        line = session.tags.put(_rows(session, mask), column, tag)
    return {"line": line, "undoable": session.tags.undoable}


def _untag(session: Session) -> dict[str, Any]:
    with session.tagging:
        line = session.tags.undo()
    return {"line": line, "undoable": session.tags.undoable}


def _export(session: Session, mask: str, kind: str) -> Response:
    content = export(session.store, _rows(session, mask), kind)
    return download(content, f"selection.{kind}", media_type(kind))


def _coco(session: Session, mask: str, column: str) -> Response:
    rows = _rows(session, mask)
    if len(rows) > _PICTURES:
        raise BadInput(f"COCO takes up to {_PICTURES:,} pictures here; {len(rows):,} are selected.")
    content = coco(session.store, session.originals, rows, column)
    return download(content, "selection.coco.json", "application/json")


def _named_rows(session: Session, request: Request) -> Response:
    rows = session.named.rows(*query_of(request, "name"))
    return packed({"count": len(rows)}, write_mask(rows, len(session.store)))


def _keep(session: Session, mask: str, name: str) -> dict[str, Any]:
    with session.tagging:
        return {"named": session.named.keep(name, _rows(session, mask))}


def _forget(session: Session, name: str) -> dict[str, Any]:
    with session.tagging:
        return {"named": session.named.forget(name)}


def _delete(session: Session, mask: str, count: int) -> dict[str, Any]:
    with session.tagging, session.changing():
        kept = session.removals.delete(_rows(session, mask), count)
        session.renew(kept)
    return {"line": f"{count:,} samples are deleted."}


def _undelete(session: Session) -> dict[str, Any]:
    with session.tagging, session.changing():
        line = session.removals.undo()
        session.renew()
    return {"line": line}
