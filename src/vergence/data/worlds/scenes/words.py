"""Sentences about scenes."""

from __future__ import annotations

from vergence.data.worlds.scenes.scene import COLOURS, TEXTURES, Scenes
from vergence.data.worlds.scenes.shapes import NAMES

_COLOURS = tuple(COLOURS)


def captions(scenes: Scenes) -> list[tuple[str, str]]:
    """Return for each scene a sentence about the nearest one or two things, and a paragraph about all."""
    return [(_sentence(scenes, b), _paragraph(scenes, b)) for b in range(len(scenes))]


def named(scenes: Scenes, b: int, k: int) -> str:
    """Return a thing's colour, texture and shape, such as "red striped star"."""
    texture = TEXTURES[scenes.texture[b, k]]
    words = (_COLOURS[scenes.colour[b, k]], texture if texture != "plain" else "", NAMES[scenes.shape[b, k]])
    return " ".join(word for word in words if word)


def relation(scenes: Scenes, b: int, first: int, second: int) -> str:
    """Return where the first thing is from the second one, by the longer way between their centres."""
    dx, dy = scenes.centre[b, first] - scenes.centre[b, second]
    if abs(dx) > abs(dy):
        return "to the right of" if dx > 0 else "to the left of"
    return "below" if dy > 0 else "above"


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _ground(scenes: Scenes, b: int) -> str:
    return f"on {_with_article(TEXTURES[scenes.ground[b]])} ground"


def _sentence(scenes: Scenes, b: int) -> str:
    k = int(scenes.nearest[b])
    text = _with_article(named(scenes, b, k))
    if k > 0:
        text += f" {relation(scenes, b, k, k - 1)} {_with_article(named(scenes, b, k - 1))}"
    return f"{text}, {_ground(scenes, b)}."


def _paragraph(scenes: Scenes, b: int) -> str:
    count = int(scenes.count[b])
    sentences = [f"{count} {'thing lies' if count == 1 else 'things lie'} {_ground(scenes, b)}."]
    for k in reversed(range(count)):
        x, y = scenes.centre[b, k]
        across = "left" if x < 1 / 3 else "right" if x > 2 / 3 else "middle"
        along = "top" if y < 1 / 3 else "bottom" if y > 2 / 3 else "centre"
        near = "nearest" if k == count - 1 else "next"
        sentences.append(f"The {near} is {_with_article(named(scenes, b, k))} at the {along} {across}.")
    return " ".join(sentences)
