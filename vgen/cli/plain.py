"""What strangers wrote, as a terminal may show it: no control characters, no words that run backwards, no endless line.

A prompt, a file's name, a model's card or a record may hold anything; a terminal obeys some of it.
"""

__all__ = ["LONGEST", "plain"]

LONGEST = 4000  # characters of one message


def plain(text: str, *, longest: int | None = LONGEST) -> str:
    """The text with everything that does not print, line ends included, as escapes such as `\\x1b`.

    Args:
        text: of any kind.
        longest: characters that are kept, the last of them for the end of the text; all where None.
    """
    if longest is not None and len(text) > longest:
        tail = longest // 4
        text = f"{text[: longest - tail]} [{len(text) - longest} characters left out] {text[-tail:]}"
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
