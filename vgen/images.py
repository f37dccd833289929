"""Pictures in: whatever a user holds becomes one uint8 RGB array, upright, within limits, and fitted to a model's size.

Nothing is changed in silence: what was done to a picture is said in its `notes`.
"""

import math
import os
import struct
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vgen.errors import InputError, nearest
from vgen.frames import Frames, to_uint8

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "DAMAGED",
    "FITS",
    "MAX_FILE_MIB",
    "MAX_IMAGE_PX",
    "ImageSource",
    "LoadedImage",
    "fit_image",
    "load_image",
    "size_for",
]

MAX_FILE_MIB = 64
MAX_IMAGE_PX = 32_000_000
MAX_TEXT_MIB = 4  # of a PPM whose numbers are written as text, which Pillow reads a megabyte a second

# no vector or document formats, whose readers run other programs
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

# how Pillow's readers meet damaged files
DAMAGED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)

FITS = ("crop", "pad", "stretch")
_STDERR = threading.Lock()  # one at a time puts it aside
ImageSource: TypeAlias = "str | Path | Image.Image | Frames | Tensor"


class LoadedImage(NamedTuple):
    """A picture, uint8 [Y, X, 3], and what was done to it on the way in."""

    pixels_YX3: Frames
    notes: tuple[str, ...]


def load_image(source: ImageSource) -> LoadedImage:
    """Reads one picture and brings it to upright RGB.

    Args:
        source: the path of a file, a PIL image, a uint8 array [Y, X, 3 or 4], or a float tensor [3, Y, X] in 0..1.

    Raises:
        InputError: it is missing, not a picture, damaged, or larger than MAX_FILE_MIB or MAX_IMAGE_PX; or an array or
            tensor of another shape, type or range.
    """
    if isinstance(source, str | Path):
        return _from_file(source)
    if isinstance(source, Image.Image):
        _check_px(source, "the picture")
        return _upright_rgb(source)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if "torch" in sys.modules and isinstance(source, sys.modules["torch"].Tensor):
        return _from_tensor(source)
    raise InputError(
        "an image is a path, a PIL image, a uint8 array [height, width, 3] or float tensor [3, height, width] in 0..1; "
        f"got {type(source).__name__}"
    )


def fit_image(image_YX3: Frames, *, height: int, width: int, fit: str = "crop") -> Frames:
    """Brings a picture to a size with a Lanczos filter.

    Args:
        image_YX3: uint8 [Y, X, 3].
        height, width: wanted, in pixels.
        fit: `crop` fills the size and cuts what hangs over, evenly on both sides; `pad` shows all of the picture
            between black bars; `stretch` ignores its aspect.

    Raises:
        InputError: there is no such `fit`.
    """
    if fit not in FITS:
        raise InputError(f"no way to fit an image is called '{fit}'; {nearest(fit, FITS)}")
    if image_YX3.shape[:2] == (height, width):
        return image_YX3
    image, size = Image.fromarray(image_YX3), (width, height)
    if fit == "crop":
        fitted = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    elif fit == "pad":
        fitted = ImageOps.pad(image, size, Image.Resampling.LANCZOS, color="black")
    else:
        fitted = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(fitted)


def size_for(image_YX3: Frames, *, area_px: int, grid_px: int | tuple[int, int]) -> tuple[int, int]:
    """The size (height, width) at which a model shows a picture: its own area at the picture's aspect.

    Of the sizes on the grid that take up no more than the area, the one whose aspect is nearest; the larger of equals.

    Args:
        image_YX3: uint8 [Y, X, 3].
        area_px: pixels of the model's native frame; at least one cell of the grid.
        grid_px: height and width are multiples of this, or of this pair.
    """
    step_y, step_x = (grid_px, grid_px) if isinstance(grid_px, int) else grid_px
    assert area_px >= step_y * step_x > 0, f"an area of {area_px} pixels holds no cell of {step_y}x{step_x}"
    aspect = image_YX3.shape[1] / image_YX3.shape[0]
    best_y = min(math.sqrt(area_px / aspect), area_px / step_x)
    rows = {max(step_y, int(best_y // step_y + up) * step_y) for up in (0, 1)}
    sizes = []
    for height in rows:
        widest = area_px // height // step_x * step_x
        exact = round(height * aspect / step_x) * step_x
        if widest:
            sizes.append((height, max(step_x, min(widest, exact))))
    return min(sizes, key=lambda size: (abs(math.log(size[1] / size[0] / aspect)), -size[0] * size[1]))


def _from_file(source: str | Path) -> LoadedImage:
    if "://" in str(source):
        raise InputError(f"'{source}' is an address; save the picture to a file and name that")
    path = Path(source)
    name = f"'{path}'"
    try:
        size_mib = path.stat().st_size / 2**20
        if not path.is_file():
            raise InputError(f"{name} is not a file")
        if size_mib > MAX_FILE_MIB:
            raise InputError(f"{name} has {size_mib:.0f} MiB; at most {MAX_FILE_MIB} MiB are read")
        with warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                _check_px(image, name)
                _check_text(image, name, size_mib)
                with _heard_from_libtiff(image.format) as said:
                    loaded = _upright_rgb(image)
        told = (*(" ".join(str(remark.message).split()) for remark in remarks), *said)
        return loaded._replace(notes=(*loaded.notes, *told))
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not a picture that can be read; possible: {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(f"{name} has more than {MAX_IMAGE_PX // 1_000_000} million pixels") from error
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror or error}") from error
    except DAMAGED as error:
        raise InputError(f"cannot read {name}: it is damaged ({error})") from error


def _from_array(pixels: Frames) -> LoadedImage:
    shape = pixels.shape
    if pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] not in (3, 4) or min(shape) < 1:
        raise InputError(
            f"an image array is uint8 [height, width, 3 or 4], got {pixels.dtype} {list(shape)}; "
            "floats are taken as a torch tensor [3, height, width] in 0..1"
        )
    image = Image.fromarray(np.ascontiguousarray(pixels))
    _check_px(image, "the picture")
    return _upright_rgb(image)


def _from_tensor(picture: "Tensor") -> LoadedImage:
    shape = list(picture.shape)
    if not picture.is_floating_point() or len(shape) != 3 or shape[0] != 3 or min(shape) < 1:
        raise InputError(f"an image tensor is float [3, height, width] in 0..1, got {picture.dtype} {shape}")
    if shape[1] * shape[2] > MAX_IMAGE_PX:
        raise InputError(f"the picture has more than {MAX_IMAGE_PX // 1_000_000} million pixels")
    values = picture.detach().float().cpu().numpy()
    if not (values.min() >= 0 and values.max() <= 1):  # not a number included
        raise InputError(f"an image tensor lies in 0..1, got {values.min():.3g} to {values.max():.3g}")
    return LoadedImage(to_uint8(values.transpose(1, 2, 0)), ())


def _check_px(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_IMAGE_PX:
        size = f"{image.width}x{image.height}"
        raise InputError(f"{name} is {size}; at most {MAX_IMAGE_PX // 1_000_000} million pixels are read")


def _check_text(image: Image.Image, name: str, size_mib: float) -> None:
    tiles = getattr(image, "tile", None)
    if tiles and tiles[0][0] == "ppm_plain" and size_mib > MAX_TEXT_MIB:
        raise InputError(f"{name} has {size_mib:.0f} MiB of numbers as text; at most {MAX_TEXT_MIB}; save it in binary")


@contextmanager
def _heard_from_libtiff(kind: str | None) -> Iterator[list[str]]:
    """What libtiff writes to the process's stderr while it decodes; nothing for other formats, whose readers do not."""
    said: list[str] = []
    if kind != "TIFF":
        yield said
        return
    with _STDERR, tempfile.TemporaryFile() as heard:
        kept = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            heard.seek(0)
            lines = heard.read(1 << 16).decode("utf-8", errors="replace").splitlines()
            said.extend(dict.fromkeys(f"{line:.200}" for line in lines[:4]))


def _upright_rgb(image: Image.Image) -> LoadedImage:
    notes = []
    if getattr(image, "is_animated", False):  # to count them would be to read all of the file
        notes.append("took the first of several pictures")
    upright = ImageOps.exif_transpose(image)
    if upright.size != image.size or image.getexif().get(0x0112, 1) != 1:
        notes.append("turned upright as its EXIF data say")
    if upright.mode in ("I", "F") or upright.mode.startswith("I;"):
        upright = _from_deep_grey(upright)
        notes.append("brought 16-bit grey to 8 bits")
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        if np.asarray(layer)[..., 3].min() < 255:
            notes.append("put transparent parts over white")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return LoadedImage(np.asarray(upright.convert("RGB")).copy(), tuple(notes))


def _from_deep_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image, dtype=np.float64)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise InputError(f"a picture of mode {image.mode} has no stated range; convert it to 8 or 16 bits first")
    return Image.fromarray(to_uint8(values / 65535))
