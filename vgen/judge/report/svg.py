"""Tags and paths of vector graphics, escaped."""

from markupsafe import Markup, escape

from vgen.judge.observation import Floats

__all__ = ["path_of", "tag"]


def tag(name: str, *content: str, **attributes: object) -> Markup:
    """An element; `class_` is the attribute class, and `_` in a name stands for `-`. Plain text is escaped."""
    said = Markup().join(Markup(' {}="{}"').format(_attribute(key), value) for key, value in attributes.items())
    inner = Markup().join(escape(part) for part in content)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), said, inner)  # noqa: S704 (names are literals of ours)


def path_of(points_P2: Floats) -> str:
    """The `d` of a line through points; one that is not finite breaks it."""
    words, pen_down = [], False
    for x, y in points_P2:
        finite = abs(x) + abs(y) < float("inf")
        if finite:
            words.append(f"{'L' if pen_down else 'M'}{x:.1f} {y:.1f}")
        pen_down = finite
    return "".join(words)


def _attribute(key: str) -> Markup:
    return Markup(key.rstrip("_").replace("_", "-"))  # noqa: S704 (keys are literals of ours)
