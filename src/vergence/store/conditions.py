"""SQL conditions on the rows of a store: read by a strict grammar, then written as Lance's own filter.

Lance takes double quotes for text, and carries out what stands before anything that it does not understand.
Here a condition is understood to its end or refused:

- columns: ``shot``, ``"Subject ID"``, ``meta.width`` of a struct; unquoted names in any case, as in SQL,
- ``'it''s'``, numbers, ``TRUE``, ``FALSE``, ``NULL``, ``DATE '2024-01-31'``, ``TIMESTAMP '…'``, ``[1, 2]``,
- ``= <> != < <= > >= LIKE ILIKE IN BETWEEN IS NULL IS TRUE IS DISTINCT FROM``, each with ``NOT``,
- ``AND OR NOT``, parentheses, ``+ - * / % ||``, functions (``lower(id)``), ``CAST(label AS string)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import pyarrow as pa

from vergence.core.errors import BadInput, unknown

_TOKENS = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?!\w))
    |(?P<text>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*"|`[^`]*`)
    |(?P<word>[^\W\d]\w*)
    |(?P<sign><>|<=|>=|!=|==|\|\||[=<>+*/%(),.\[\]]|-(?!-))""",
    re.VERBOSE,
)
_RESERVED = {"AND", "OR", "NOT", "IN", "IS", "BETWEEN", "LIKE", "ILIKE", "NULL", "TRUE", "FALSE"}
_COMPARED = {"=", "==", "<>", "!=", "<", "<=", ">", ">="}
_DEEPEST = 50  # parentheses in each other; Lance's parser has about that limit too
_EXAMPLE = "A condition looks like \"class = 'cat' AND label IS NOT NULL\"."
BOUNDED = {  # functions whose values are no larger than what they are given
    "abs", "array_has", "array_length", "btrim", "cardinality", "char_length", "coalesce",
    "contains", "date_part", "date_trunc", "ends_with", "exp", "greatest", "isnan", "least", "left",
    "length", "ln", "log10", "lower", "ltrim", "nullif", "octet_length", "power", "regexp_like",
    "right", "round", "rtrim", "split_part", "sqrt", "starts_with", "strpos", "trunc", "upper",
}  # fmt: skip


def as_filter(condition: str, schema: pa.Schema, *, functions: Collection[str] | None = None) -> str:
    r"""Return a SQL condition as Lance takes it.

    Args:
        condition: SQL, as above.
        schema: Of the table that is asked.
        functions: Those that may be called, in lower case; None lets all be.

    Raises:
        BadInput: If a column is not there, a function may not be called, or anything is not understood.

    >>> as_filter("\"Group\" = 'A' or n in (1, 2)", pa.schema({"Group": pa.string(), "n": pa.int64()}))
    "((`Group` = 'A') OR (`n` IN (1, 2)))"
    """
    return _Reader(condition, schema, functions).whole()


class _Reader:
    """Reads a condition by recursive descent; each method returns what it read as Lance's SQL."""

    def __init__(self, condition: str, schema: pa.Schema, functions: Collection[str] | None) -> None:
        self.condition, self.schema, self.functions = condition, schema, functions
        self.depth, self.place = 0, 0
        self.tokens: list[tuple[str, str, int]] = []
        end = 0
        while end < len(condition):
            token = _TOKENS.match(condition, end)
            if token is None:
                raise self._refused(condition[end:], end)
            if token.lastgroup != "space":
                self.tokens.append((str(token.lastgroup), token.group(), end))
            end = token.end()
        self.tokens.append(("end", "", end))

    def whole(self) -> str:
        read = self._either()
        if self.tokens[self.place][0] != "end":
            raise self._here()
        return read

    def _either(self) -> str:
        return self._chain(self._both, {"OR"})

    def _both(self) -> str:
        return self._chain(self._negated, {"AND"})

    def _negated(self) -> str:
        negations = 0
        while self._word("NOT"):
            negations += 1
        read = self._compared()
        return f"(NOT {read})" if negations % 2 else read

    def _compared(self) -> str:
        left = self._sum()
        kind, text, _ = self.tokens[self.place]
        if kind == "sign" and text in _COMPARED:
            self.place += 1
            return f"({left} {'=' if text == '==' else text} {self._sum()})"
        if self._word("IS"):
            return f"({left} {self._state()})"
        negated = "NOT " if self._word("NOT") else ""
        if self._word("IN"):
            self._need("(")
            if self.tokens[self.place][1] == ")":
                raise self._here()
            return f"({left} {negated}IN ({self._list(')')}))"
        if self._word("BETWEEN"):
            low = self._sum()
            self._need_word("AND")
            return f"({left} {negated}BETWEEN {low} AND {self._sum()})"
        for word in ("LIKE", "ILIKE"):
            if self._word(word):
                return f"({left} {negated}{word} {self._sum()})"
        if negated:
            raise self._here()
        return left

    def _state(self) -> str:
        negated = "NOT " if self._word("NOT") else ""
        for word in ("NULL", "TRUE", "FALSE"):
            if self._word(word):
                return f"IS {negated}{word}"
        self._need_word("DISTINCT")
        self._need_word("FROM")
        return f"IS {negated}DISTINCT FROM {self._sum()}"

    def _sum(self) -> str:
        return self._chain(self._product, {"+", "-", "||"})

    def _product(self) -> str:
        return self._chain(self._factor, {"*", "/", "%"})

    def _factor(self) -> str:
        negative = False
        while self._sign("-"):
            negative = not negative
        read = self._primary()
        while self._sign("["):
            kind, text, _ = self.tokens[self.place]
            if kind != "number" or not text.isdecimal():
                raise self._here()
            self.place += 1
            self._need("]")
            read = f"{read}[{text}]"
        return f"(-{read})" if negative else read

    def _primary(self) -> str:
        kind, text, _ = self.tokens[self.place]
        if self._sign("("):
            read = self._deeper(self._either)
            self._need(")")
            return read
        if self._sign("["):
            return f"[{self._list(']')}]"
        if kind in ("number", "text"):
            self.place += 1
            return text
        if kind == "quoted":
            return self._column()
        if kind != "word":
            raise self._here()
        return self._named(text)

    def _named(self, word: str) -> str:
        """Read what begins with a word: a constant, a date, a function or a column."""
        upper, (after, text, _) = word.upper(), self.tokens[self.place + 1]
        if upper in ("TRUE", "FALSE", "NULL"):
            self.place += 1
            return upper
        if upper in _RESERVED:
            raise self._here()
        if upper in ("DATE", "TIMESTAMP") and after == "text":
            self.place += 2
            return f"{upper} {text}"
        if text == "(":
            self.place += 2
            return self._cast() if upper == "CAST" else self._called(word)
        return self._column()

    def _called(self, word: str) -> str:
        if self.functions is not None and word.lower() not in self.functions:
            known = ", ".join(sorted(self.functions))
            raise BadInput(f"The function {word[:60]} may not be called here; these may: {known}.")
        return f"{word}({self._list(')')})"

    def _cast(self) -> str:
        read = self._deeper(self._either)
        self._need_word("AS")
        kind, text, _ = self.tokens[self.place]
        if kind != "word":
            raise self._here()
        self.place += 1
        if self._sign("("):
            text += f"({self._list(')')})"
        self._need(")")
        return f"CAST({read} AS {text})"

    def _column(self) -> str:
        fields = list(self.schema)
        path = []
        while True:
            kind, text, _ = self.tokens[self.place]
            if kind not in ("word", "quoted"):
                raise self._here()
            field = _field(text, kind == "quoted", fields)
            if field is None:
                raise self._unknown(text, kind, fields)
            path.append(f"`{field.name}`")
            self.place += 1
            if not self._sign("."):
                return ".".join(path)
            kept = field.type
            fields = [kept.field(i) for i in range(kept.num_fields)] if pa.types.is_struct(kept) else []

    def _chain(self, part: Callable[[], str], signs: set[str]) -> str:
        """Read parts with signs (or words) of one rank between them."""
        flat = signs <= {"AND", "OR"}  # thousands of them in each other would be too deep for Lance
        read, several = part(), False
        while (text := self.tokens[self.place][1].upper()) in signs:
            self.place, several = self.place + 1, True
            read = f"{read} {text} {part()}" if flat else f"({read} {text} {part()})"
        return f"({read})" if flat and several else read

    def _list(self, end: str) -> str:
        if self._sign(end):
            return ""
        parts = [self._deeper(self._either)]
        while self._sign(","):
            parts.append(self._deeper(self._either))
        self._need(end)
        return ", ".join(parts)

    def _deeper(self, part: Callable[[], str]) -> str:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise BadInput(f"A condition holds at most {_DEEPEST} parentheses in each other.")
        read = part()
        self.depth -= 1
        return read

    def _word(self, word: str) -> bool:
        kind, text, _ = self.tokens[self.place]
        matched = kind == "word" and text.upper() == word
        self.place += matched
        return matched

    def _sign(self, sign: str) -> bool:
        kind, text, _ = self.tokens[self.place]
        matched = kind == "sign" and text == sign
        self.place += matched
        return matched

    def _need(self, sign: str) -> None:
        if not self._sign(sign):
            raise self._here()

    def _need_word(self, word: str) -> None:
        if not self._word(word):
            raise self._here()

    def _here(self) -> BadInput:
        _, text, start = self.tokens[self.place]
        return self._refused(text, start)

    def _refused(self, rest: str, start: int) -> BadInput:
        shown = " ".join(self.condition.split())
        if not rest.strip():
            return BadInput(f"The condition {shown!r} ends too soon. {_EXAMPLE}")
        first = rest.split()[0][:20]
        return BadInput(
            f"The condition {shown!r} is not understood from {first!r} on, character {start + 1}. {_EXAMPLE}"
        )

    def _unknown(self, text: str, kind: str, fields: list[pa.Field]) -> BadInput:
        names = [field.name for field in fields]
        if kind == "quoted" and text[0] == '"':
            return BadInput(
                f"There is no column {text} (there are {', '.join(names)}); a text stands in single quotes: "
                f"'{text[1:-1]}'."
            )
        return unknown("column", text.strip("`"), names) if names else self._here()


def _field(text: str, quoted: bool, fields: list[pa.Field]) -> pa.Field | None:
    """Return the field of a name: exactly so where it is quoted, otherwise in any case if only one fits."""
    name = text[1:-1].replace('""', '"') if quoted else text
    for field in fields:
        if field.name == name:
            return field
    alike = [] if quoted else [field for field in fields if field.name.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None
