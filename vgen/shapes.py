"""The legend of the letters in tensor names, the lattice of latent tokens, and windows over its frames.

    B batch   C channels   T latent frames   H latent rows   W latent columns
    L query tokens   M key or text tokens   D model width   N heads   K head width
    pixel video: F frames   Y rows   X columns

A name such as `q_BLNK` says rank and order of axes; a file that needs another letter declares it in its first lines.
"""

from dataclasses import dataclass

__all__ = ["TokenGrid", "window_starts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrid:
    """The lattice of tokens that one attention call works on: text, then video in raster order (t, h, w), then text.

    Args:
        frames: absolute index of each latent frame, in the order of the tokens; not necessarily contiguous or sorted
            (a sink, a window, slots of a ring).
        height: token rows per frame (latent rows over the patch height); at least 1.
        width: token columns per frame; at least 1.
        text_before, text_after: text tokens that share the sequence, in front of the video and behind it.
    """

    frames: tuple[int, ...]
    height: int
    width: int
    text_before: int = 0
    text_after: int = 0

    def __post_init__(self) -> None:
        assert self.frames and min(self.height, self.width) >= 1, f"a grid needs tokens, got {self}"
        assert min(self.text_before, self.text_after) >= 0, f"a number of text tokens is at least 0, got {self}"

    @property
    def tokens_per_frame(self) -> int:
        return self.height * self.width

    @property
    def video_tokens(self) -> int:
        return len(self.frames) * self.tokens_per_frame

    @property
    def tokens(self) -> int:
        return self.text_before + self.video_tokens + self.text_after


def window_starts(frames: int, window: int, stride: int) -> list[int]:
    """First frame of each of the overlapping windows; the last is moved back where it would reach past the end."""
    last = max(0, frames - window)
    return [*range(0, last, stride), last]
