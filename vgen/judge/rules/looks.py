"""What a thing looks like over some frames, as figures that do not depend on where it is or how it is turned.

Letters: `S` harmonics of an outline.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats, Track

__all__ = ["JND", "SAME_LAB", "Look", "delta_e", "form_gap", "harmonics", "look", "main_colours", "mean_lab"]

JND = 2.3  # Delta-E that a person just notices (Mahy et al. 1994); no measured colour is better than that
SAME_LAB = 12.0  # CIE76: median colours closer than this are the same
OUTLINE_SIGMAS = 0.8  # error of an outline's harmonics in pixels, over that of its centre
CELL = 16  # of 255: colours within such cells are one
SURFACE_SHARE = 0.02  # of what is near a thing, that a colour fills to be a surface of its own
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
HARMONICS = slice(2, 8)  # of the outline: below are its size and its centre, above is noise


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """Medians over some frames, and how far single frames scatter about them.

    Args:
        frames: how many were measured.
        lab_3: colour, CIE L*a*b*.
        lab_scatter: distance of a frame's colour from the median, typical.
        form_S: strength of the outline's harmonics 2..7 as shares of its mean radius; a disc has zeros.
        form_scatter: of the whole form vector, typical.
        form_sigma: standard error of it that more frames do not lessen: compression moves an outline for good.
        log_size: natural logarithm of the diameter in pixels.
        log_size_scatter: of one frame's.
    """

    frames: int
    lab_3: Floats
    lab_scatter: float
    form_S: Floats
    form_scatter: float
    form_sigma: float
    log_size: float
    log_size_scatter: float


def harmonics(outline_FA: Floats) -> Floats:
    """[F, S] strengths of the outline's harmonics as shares of the mean radius: the same however it is turned."""
    wave_FA = np.abs(np.fft.rfft(outline_FA, axis=-1)) * 2 / outline_FA.shape[-1]
    return np.asarray(wave_FA[:, HARMONICS] / (wave_FA[:, :1] / 2))


def look(track: Track, frames: npt.NDArray[np.int_]) -> Look | None:
    """How it looks in those of `frames` that show it wholly; None where fewer than two do."""
    frames = frames[track.seen_F[frames] & np.isfinite(track.area_px_F[frames]) & (track.area_px_F[frames] > 0)]
    frames = frames[np.isfinite(track.lab_F3[frames]).all(-1) & np.isfinite(track.outline_px_FA[frames]).all(-1)]
    if len(frames) < 2:
        return None
    lab_F3 = track.lab_F3[frames]
    form_FS = harmonics(track.outline_px_FA[frames])
    size_F = np.log(2 * np.sqrt(track.area_px_F[frames] / np.pi))
    lab_3, form_S, size = _middle(lab_F3), _middle(form_FS), float(_middle(size_F))
    return Look(
        frames=len(frames),
        lab_3=lab_3,
        lab_scatter=float(_middle(np.sqrt(((lab_F3 - lab_3) ** 2).sum(-1)))),
        form_S=form_S,
        form_scatter=float(_middle(np.sqrt(((form_FS - form_S) ** 2).sum(-1)))),
        form_sigma=OUTLINE_SIGMAS * track.sigma_px / (float(np.exp(size)) / 2),
        log_size=size,
        log_size_scatter=float(1.48 * _middle(np.abs(size_F - size))),
    )


def _middle(values_F: Floats) -> Floats:
    """The median over frames; `np.median` takes three times as long over so few."""
    sorted_F = np.sort(values_F, axis=0)
    return np.asarray((sorted_F[(len(sorted_F) - 1) // 2] + sorted_F[len(sorted_F) // 2]) / 2)


def main_colours(rgb_YX3: npt.NDArray[np.uint8]) -> list[Floats]:
    """The colours, CIE L*a*b*, that fill `SURFACE_SHARE` of a picture at least, shades of one counted together."""
    red, green, blue = (rgb_YX3.reshape(-1, 3) // CELL).astype(np.int64).T
    codes_N, counts_N = np.unique((red << 8 | green) << 8 | blue, return_counts=True)
    cells_N3 = np.stack([codes_N >> 16, codes_N >> 8 & 255, codes_N & 255], 1)
    lab_N3, least = _lab((cells_N3.astype(np.float64) + 0.5) * CELL), SURFACE_SHARE * counts_N.sum()
    colours, left_N = list[Floats](), counts_N.astype(float)
    while left_N.any() and left_N.sum() >= least:
        near_N = np.linalg.norm(lab_N3 - lab_N3[left_N.argmax()], axis=1) < SAME_LAB
        weight_N = np.where(near_N, left_N, 0.0)
        if weight_N.sum() >= least:
            colours.append(weight_N @ lab_N3 / weight_N.sum())
        left_N[near_N] = 0
    return colours


def _lab(rgb_N3: Floats) -> Floats:
    """CIE L*a*b* (D65) of sRGB colours in 0..255 (IEC 61966-2-1)."""
    share_N3 = rgb_N3 / 255
    linear_N3 = np.where(share_N3 <= 0.04045, share_N3 / 12.92, ((share_N3 + 0.055) / 1.055) ** 2.4)
    xyz_N3 = linear_N3 @ TO_XYZ.T / TO_XYZ.sum(1)
    root_N3 = np.where(xyz_N3 > (6 / 29) ** 3, np.cbrt(xyz_N3), xyz_N3 / (3 * (6 / 29) ** 2) + 4 / 29)
    x_N, y_N, z_N = root_N3.T
    return np.stack([116 * y_N - 16, 500 * (x_N - y_N), 200 * (y_N - z_N)], -1)


def mean_lab(track: Track) -> Floats:
    """[3] median colour while wholly seen, or of all that shows."""
    return np.asarray(np.nanmedian(track.lab_F3[track.seen_F] if track.seen_F.any() else track.lab_F3, 0))


def delta_e(one: Look, other: Look) -> tuple[float, float]:
    """CIE 1976 colour difference of two looks and its standard error."""
    error = np.hypot(one.lab_scatter / np.sqrt(one.frames), other.lab_scatter / np.sqrt(other.frames))
    return float(np.linalg.norm(one.lab_3 - other.lab_3)), float(error)


def form_gap(one: Look, other: Look) -> tuple[float, float]:
    """Distance between two forms as a share of the mean radius, and its standard error."""
    error = np.hypot(one.form_scatter / np.sqrt(one.frames), other.form_scatter / np.sqrt(other.frames))
    lasting = max(one.form_sigma, other.form_sigma)
    return float(np.linalg.norm(one.form_S - other.form_S)), float(np.hypot(error, lasting))
