"""Images in: every kind of source, bounds before decoding, damaged files, fitting."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.moving import moving_frames
from vgen import images
from vgen.errors import InputError
from vgen.images import FITS, fit_image, load_image, size_for

PICTURE = moving_frames(1)[0]


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type] # forwarded by name only in PIL
    return path


def test_all_sources_give_the_same_pixels(tmp_path: Path) -> None:
    tensor = torch.from_numpy(PICTURE).permute(2, 0, 1) / 255
    file = save(tmp_path / "picture.png", Image.fromarray(PICTURE))
    for source in (
        file,
        str(file),
        Image.fromarray(PICTURE),
        PICTURE,
        PICTURE[:, ::-1][:, ::-1],
        tensor,
        tensor.double(),
    ):
        pixels, notes = load_image(source)
        assert np.array_equal(pixels, PICTURE)
        assert notes == ()


@pytest.mark.parametrize(
    ("suffix", "error"), [("png", 0), ("webp", 8), ("jpg", 8), ("bmp", 0), ("tiff", 0), ("ppm", 0)]
)
def test_common_formats_are_read(tmp_path: Path, suffix: str, error: int) -> None:
    pixels = load_image(save(tmp_path / f"a.{suffix}", Image.fromarray(PICTURE))).pixels_YX3
    assert np.abs(pixels.astype(int) - PICTURE).mean() <= error


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_rotation_is_applied_and_said(tmp_path: Path, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels, notes = load_image(save(tmp_path / "a.png", Image.fromarray(PICTURE), exif=exif))
    upright = {
        1: PICTURE,
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.swapaxes(0, 1),
        6: np.rot90(PICTURE, -1),
        7: PICTURE[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(PICTURE),
    }
    assert np.array_equal(pixels, upright[turn])
    assert bool(notes) == (turn != 1)


def test_transparency_goes_over_white_and_is_said() -> None:
    alpha = np.zeros((*PICTURE.shape[:2], 1), np.uint8)
    alpha[:, :10] = 255
    for source in (np.concatenate([PICTURE, alpha], axis=2), Image.fromarray(np.concatenate([PICTURE, alpha], axis=2))):
        pixels, notes = load_image(source)
        assert np.array_equal(pixels[:, :10], PICTURE[:, :10])
        assert (pixels[:, 10:] == 255).all()
        assert notes == ("put transparent parts over white",)
    opaque = np.concatenate([PICTURE, np.full_like(alpha, 255)], axis=2)
    assert load_image(opaque).notes == ()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(PICTURE).convert("L").convert("RGB" if mode in {"LAB", "HSV"} else "L")
    if mode == "LAB":
        image = Image.new("LAB", (48, 32))
    elif mode not in ("RGBX",):
        image = image.convert(mode)
    else:
        image = image.convert("RGB").convert("RGBX")
    pixels = load_image(image).pixels_YX3
    assert pixels.shape == (32, 48, 3) and pixels.dtype == np.uint8


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    """PIL's own conversion clips everything above 255 to white."""
    grey = np.linspace(0, 65535, 32 * 48).astype(np.uint16).reshape(32, 48)
    pixels, notes = load_image(save(tmp_path / "a.png", Image.fromarray(grey)))
    assert np.abs(pixels[..., 0].astype(float) - grey / 257).max() <= 0.5 + 1e-9
    assert notes == ("brought 16-bit grey to 8 bits",)
    with pytest.raises(InputError, match="no stated range"):
        load_image(Image.fromarray(grey.astype(np.float32)))


def test_an_animation_gives_its_first_picture(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pixels, notes = load_image(save(tmp_path / "a.gif", pages[0], save_all=True, append_images=pages[1:]))
    assert (pixels == (255, 0, 0)).all()
    assert notes == ("took the first of several pictures",)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("https://example.org/a.png", "is an address; save the picture"),
        ("none.png", "No such file"),
        (".", "is not a file"),
        (b"bytes", "an image is a path, a PIL image, .* got bytes"),
        (PICTURE.astype(np.float32), "got float32"),
        (PICTURE[..., :2], r"got uint8 \[32, 48, 2\]"),
        (PICTURE[..., 0], r"got uint8 \[32, 48\]"),
        (torch.zeros(32, 48, 3), r"float \[3, height, width\] in 0..1, got torch.float32 \[32, 48, 3\]"),
        (torch.zeros(3, 32, 48, dtype=torch.uint8), "got torch.uint8"),
        (torch.full((3, 4, 4), 1.5), "lies in 0..1, got 1.5 to 1.5"),
        (torch.full((3, 4, 4), float("nan")), "lies in 0..1, got nan"),
    ],
)
def test_other_sources_are_refused(source: images.ImageSource, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_image(source)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_bounds_hold_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    for width, height in [(8000, 4001), (20_000, 20_000), (60_000, 60_000)]:
        path.write_bytes(png_header(width, height))
        with pytest.raises(InputError, match="million pixels"):
            load_image(path)
    monkeypatch.setattr(images, "MAX_IMAGE_PX", 100)
    tensor = torch.zeros(3, 32, 48)
    for source in (PICTURE, Image.fromarray(PICTURE), tensor):
        with pytest.raises(InputError, match="million pixels"):
            load_image(source)
    path.write_bytes(b"\0" * (1 << 20))
    monkeypatch.setattr(images, "MAX_FILE_MIB", 0.5)
    with pytest.raises(InputError, match=r"has 1 MiB; at most 0\.5 MiB are read"):
        load_image(path)


def test_documents_are_no_pictures(tmp_path: Path) -> None:
    for data in (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"",
    ):
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(InputError, match="is not a picture that can be read"):
            load_image(tmp_path / "a.png")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"]))
def test_damaged_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str
) -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PICTURE).save(stream, kind, exif=exif)
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        pixels = load_image(path).pixels_YX3
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 60), width=st.integers(1, 60), to_y=st.integers(1, 60), to_x=st.integers(1, 60),
    fit=st.sampled_from(FITS),
)  # fmt: skip
def test_fit_gives_the_size_and_keeps_plain_colour(height: int, width: int, to_y: int, to_x: int, fit: str) -> None:
    grey = np.full((height, width, 3), 99, np.uint8)
    fitted = fit_image(grey, height=to_y, width=to_x, fit=fit)
    assert fitted.shape == (to_y, to_x, 3)
    assert set(np.unique(fitted)) <= ({0, 99} if fit == "pad" else {99})


def test_fit_keeps_what_fits_and_the_middle() -> None:
    assert fit_image(PICTURE, height=32, width=48) is PICTURE
    wide = np.concatenate([np.zeros_like(PICTURE), PICTURE, np.zeros_like(PICTURE)], axis=1)
    assert np.array_equal(fit_image(wide, height=32, width=48), PICTURE)
    padded = fit_image(PICTURE, height=64, width=48, fit="pad")
    assert np.array_equal(padded[16:48], PICTURE) and not padded[:16].any() and not padded[48:].any()
    with pytest.raises(InputError, match="did you mean 'crop'"):
        fit_image(PICTURE, height=8, width=8, fit="crob")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    aspect=st.floats(0.02, 50),
    cells=st.integers(1, 3000),
    step_y=st.sampled_from([8, 16]),
    step_x=st.sampled_from([16, 32]),
)
def test_size_for_stays_on_the_grid_and_within_the_area(aspect: float, cells: int, step_y: int, step_x: int) -> None:
    image = np.empty((round(1000 / aspect**0.5) or 1, round(1000 * aspect**0.5) or 1, 3), np.uint8)
    height, width = size_for(image, area_px=cells * step_y * step_x, grid_px=(step_y, step_x))
    assert height % step_y == width % step_x == 0 < height * width <= cells * step_y * step_x


@pytest.mark.parametrize(
    ("aspect", "area_px", "grid_px", "size"),
    [
        ((96, 96), 96 * 96, 16, (96, 96)),
        ((1920, 1080), 832 * 480, 16, (464, 832)),
        ((832, 480), 832 * 480, 16, (480, 832)),
        ((1280, 704), 1280 * 704, 32, (704, 1280)),
        ((1000, 1), 96 * 96, 16, (16, 576)),
        ((1, 1000), 96 * 96, 16, (576, 16)),
    ],
)
def test_size_for_known_models(aspect: tuple[int, int], area_px: int, grid_px: int, size: tuple[int, int]) -> None:
    image = np.empty((aspect[1], aspect[0], 3), np.uint8)
    assert size_for(image, area_px=area_px, grid_px=grid_px) == size
