"""YAML as settings need it: names, words, numbers, lists. What could grow beyond its text is refused."""

from __future__ import annotations

from typing import Any

import yaml

from vergence.core.errors import BadInput

LARGEST = 2**20  # characters; a configuration has a few thousand
_DIGITS = 64  # of a number; 1:00:00:… is one to YAML, of any length


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.YAMLError(f"line {mark.line + 1} has an alias (*name): write the value out there")
        composed: yaml.Node | None = super().compose_node(parent, index)
        return composed

    def number(self, node: yaml.ScalarNode) -> Any:
        if len(node.value) > _DIGITS:
            raise yaml.YAMLError(
                f"line {node.start_mark.line + 1} has a number of more than {_DIGITS} digits"
            )
        whole = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _PlainLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _PlainLoader.number)


def parse(text: str, where: str) -> Any:
    """Return what a YAML text holds.

    Args:
        text: At most a million characters, without aliases (``*name``).
        where: Named in errors.

    Raises:
        BadInput: If it is no YAML, or larger; the line says where.

    >>> parse("epochs: 3", "settings.yaml")
    {'epochs': 3}
    """
    if len(text) > LARGEST:
        raise BadInput(f"{where} is no configuration: it is larger than {LARGEST:,} characters.")
    try:
        return yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, AttributeError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error).partition("\n")[0] or type(error).__name__
        place = f"line {mark.line + 1}: " if mark else ""
        raise BadInput(
            f"{where} is not valid YAML: {place}{' '.join(str(said).split()).rstrip('.')}."
        ) from None
