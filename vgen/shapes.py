"""The legend of the letters in tensor names, and the lattice of latent tokens.

    B batch   C channels   T latent frames   H latent rows   W latent columns
    L query tokens   M key or text tokens   D model width   N heads   K head width
    pixel video: F frames   Y rows   X columns

A name such as `q_BLNK` says rank and order of axes; a file that needs another letter declares it in its first lines.
"""

from dataclasses import dataclass

__all__ = ["TokenGrid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrid:
    """The lattice of tokens that one attention call works on, in raster order (t, h, w).

    Args:
        frames: latent frames; at least 1.
        height: token rows per frame (latent rows over the patch height); at least 1.
        width: token columns per frame; at least 1.
        text_before: text tokens in front of the video tokens.
        text_after: text tokens behind the video tokens.
        first_frame: absolute index of the first latent frame, for windows of a longer clip.
    """

    frames: int
    height: int
    width: int
    text_before: int = 0
    text_after: int = 0
    first_frame: int = 0

    def __post_init__(self) -> None:
        assert min(self.frames, self.height, self.width) >= 1, f"a grid needs tokens, got {self}"
        assert min(self.text_before, self.text_after, self.first_frame) >= 0, f"negative count in {self}"

    @property
    def tokens_per_frame(self) -> int:
        return self.height * self.width

    @property
    def tokens(self) -> int:
        """All tokens of the grid, text included."""
        return self.text_before + self.frames * self.tokens_per_frame + self.text_after
