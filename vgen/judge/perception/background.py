"""The picture without its things, though they rest in it for long, cross it slowly, or never leave a place wholly.

Pixels that never change are scenery. Where a pixel changes, the frames offer several colours, and neither the one that
lasts longest nor the first need be the scenery; but scenery goes on from pixel to pixel. So the changing regions are
filled in from their rim inwards, each pixel with that colour of its own frames which continues its settled neighbours,
how long it lasts counting less. (A per-pixel form of background growing: Colombari et al. 2006; Baltieri et al. 2010.)
Where no colour continues them, no frame shows the scenery: a hole. What never changes but is the core of a thing that
moves less than its own size is a hole as well.
Letters beyond the legend: `S` sampled frames, `P` changing pixels, `K` colours that one of them offers.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from vgen.judge.perception.colours import far, far_squared, steps
from vgen.judge.perception.view import Bytes, Mask, Picture, to_lab

__all__ = ["Background", "differing", "find_background", "repainted", "without"]

MAX_SAMPLES = 37  # frames that are looked at
MAX_CHANGING = 0.75  # of the picture: beyond it nothing is settled enough to grow from, and the median must do
ALIKE_LAB = 3.0  # colours that differ by less are one
STEP_LAB = 3.0  # by which scenery changes from one pixel to the next, at least
TEXTURE_PX, TEXTURE_STEPS = 25, 2.0  # reach of the texture around a place, and its weight in the step
TEXTURE_LEAST = 0.2  # of that reach, settled, from which on it tells more than the whole picture does
# Of cost, at which a colour is taken; beyond the last none continues its neighbours.
LEVELS = (1.0, 3.0, 6.0, 10.0, 16.0, 24.0)
DRIFT_STEPS = 2.0  # by which a surface goes away from the colour that it has farther out ...
TURN = 0.15  # ... while that follows it, by this share per pixel
RARITY_PRICE = 1.6  # of a colour, per e-fold of its share of the frames
SHADOW_PRICE = 3.0  # of a colour that is another one of the same pixel, darkened
LIT_SHARE = 0.07  # of the frames that must show the lighter colour: a thing's soft edge passes faster
SHADOW_TINT = 6.0  # levels of 255 by which it may be off that
MODES = 6  # colours that a pixel offers
HOLE_MARGIN_PX = 2  # around a thing that is taken out
CORE_AREA = 0.06  # of the picture: a larger still region is no core of a thing
CORE_RIM_SHARE = 0.4  # of the changing pixels around a core that show its colour at times
FLICKER_TIMES, MAX_FLICKER = 3.0, 9.0  # of a pixel's usual difference; and in Lab, beyond which something rests there
FAINT_LAB = 2.0  # of a shadow at least
NOISE_FLOOR = 0.4  # of Lab: rounding of 8 bits
NEIGHBOURS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Background:
    """What stands still.

    Args:
        rgb_YX3, lab_YX3: float32; sRGB 0..255, and L*a*b* smoothed as the view's.
        known_YX: where some frame shows it; elsewhere it is filled in from around.
        noise: standard deviation of a frame's Lab difference from it where nothing moves.
        faint_YX, low_YX, high: Lab difference from which a pixel may lie in a shadow, may belong to a thing, and does;
            more is asked where the scenery itself flickers (compression, foliage).
    """

    rgb_YX3: Picture
    lab_YX3: Picture
    known_YX: Mask
    noise: float
    faint_YX: Picture
    low_YX: Picture
    high: float


def find_background(rgb_FYX3: Bytes, lab_FYX3: Picture, inside_FYX: Mask | None) -> Background:
    """The still picture of one steadied shot, as the view holds it."""
    picks = np.unique(np.linspace(0, len(rgb_FYX3) - 1, MAX_SAMPLES).round().astype(int))
    lab_SYX3 = lab_FYX3[picks]
    inside_SYX = None if inside_FYX is None else inside_FYX[picks]
    median_YX3, known_YX = _median(rgb_FYX3[picks], inside_SYX)
    median_lab = _smooth_lab(median_YX3)
    off_SYX = far(lab_SYX3, median_lab)
    if inside_SYX is not None:
        off_SYX[~inside_SYX] = 0
    # The median of the length of a vector of three normal values is 1.54 of one's deviation.
    noise = max(NOISE_FLOOR, float(np.median(off_SYX[:, known_YX])) / 1.54)
    alike = max(ALIKE_LAB, 4.5 * noise)
    # Over so many frames some noise of each pixel goes beyond any threshold; that of nine together does not.
    changing_YX = ~known_YX
    for off_YX in off_SYX:
        changing_YX |= cv2.blur(off_YX, (3, 3)) > alike
    changing_YX = cv2.dilate(changing_YX.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    if changing_YX.mean() > MAX_CHANGING:
        return _described(median_YX3.astype(np.float32), known_YX, noise, lab_SYX3)
    changing_YX |= _islands(changing_YX) | _cores(median_lab, lab_SYX3, changing_YX, alike)
    rgb_YX3, hole_YX = _grown(rgb_FYX3[picks], lab_SYX3, inside_SYX, median_YX3, changing_YX, alike)
    return _described(rgb_YX3, known_YX & ~hole_YX, noise, lab_SYX3)


def differing(background: Background, lab_YX3: Picture) -> Picture:
    """How far each pixel lies off the background, in Lab units; float32."""
    off = lab_YX3 - background.lab_YX3
    return np.sqrt(np.einsum("yxc,yxc->yx", off, off))


def without(background: Background, thing_YX: Mask) -> Background:
    """The background with a thing taken out of it and the hole filled in from around."""
    hole = cv2.dilate(thing_YX.astype(np.uint8), np.ones((2 * HOLE_MARGIN_PX + 1,) * 2, np.uint8))
    rgb = cv2.inpaint(background.rgb_YX3.round().astype(np.uint8), hole, 3, cv2.INPAINT_TELEA)
    rgb_YX3 = np.where(hole[..., None] > 0, rgb, background.rgb_YX3).astype(np.float32)
    return replace(repainted(background, rgb_YX3), known_YX=background.known_YX & (hole == 0))


def repainted(background: Background, rgb_YX3: Picture) -> Background:
    """The background with another picture."""
    return replace(background, rgb_YX3=rgb_YX3, lab_YX3=_smooth_lab(rgb_YX3))


def _median(rgb_SYX3: Bytes, inside_SYX: Mask | None) -> tuple[Bytes, Mask]:
    samples, height, width, _ = rgb_SYX3.shape
    if inside_SYX is None:
        flat = np.ascontiguousarray(rgb_SYX3.reshape(samples, -1).T)
        middle = np.partition(flat, samples // 2, axis=1)[:, samples // 2]
        return middle.reshape(height, width, 3), np.ones((height, width), np.bool_)
    count_YX = inside_SYX.sum(0)
    # What a frame does not show sorts to the end: the median of the rest lies at half their number.
    shown = np.where(inside_SYX[..., None], rgb_SYX3.astype(np.int16), 256)
    shown.sort(axis=0)
    middle = np.take_along_axis(shown, (np.maximum(count_YX, 1) // 2)[None, ..., None], 0)[0]
    known = count_YX > 0
    return np.where(known[..., None], middle, 0).clip(0, 255).astype(np.uint8), known


def _smooth_lab(rgb_YX3: Picture | Bytes) -> Picture:
    lab = to_lab(rgb_YX3.round().astype(np.uint8)[None])[0]
    return cv2.GaussianBlur(lab, (3, 3), 0.7)


def _described(rgb_YX3: Picture, known_YX: Mask, noise: float, lab_SYX3: Picture) -> Background:
    """A background with the thresholds that the clip's own noise asks for."""
    lab_YX3 = _smooth_lab(rgb_YX3)
    usual_YX = np.median(far(lab_SYX3[::3], lab_YX3), axis=0)
    low = max(4.5, 5.0 * noise)
    flicker_YX = cv2.blur(usual_YX, (5, 5)) * FLICKER_TIMES
    return Background(
        rgb_YX3=rgb_YX3,
        lab_YX3=lab_YX3,
        known_YX=known_YX,
        noise=noise,
        faint_YX=np.clip(flicker_YX, max(FAINT_LAB, 5.0 * noise), max(low, MAX_FLICKER)).astype(np.float32),
        low_YX=np.clip(flicker_YX, low, max(low, MAX_FLICKER)).astype(np.float32),
        high=max(8.0, 8.0 * noise),
    )


def _islands(changing_YX: Mask) -> Mask:
    """Small still regions amid changing pixels: scenery that goes on from around, or what a thing always covers."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~changing_YX).astype(np.uint8), connectivity=4)
    height, width = changing_YX.shape
    left, top, wide, tall, area = stats.T
    inside = (left > 0) & (top > 0) & (left + wide < width) & (top + tall < height)
    islands = inside & (area <= CORE_AREA * changing_YX.size)
    islands[0] = False  # what changes
    return islands[labels]


def _cores(lab_YX3: Picture, lab_SYX3: Picture, changing_YX: Mask, alike: float) -> Mask:
    """Still regions that are the inside of a thing which moves less than its own size.

    Such a region is small, ends at edges or changing pixels, and the changing pixels around it show its colour at times
    and something else at others.
    """
    flat = ((np.maximum(steps(lab_YX3, 0), steps(lab_YX3, 1)) < alike) & ~changing_YX).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    height, width = flat.shape
    cores = np.zeros(flat.shape, np.bool_)
    for index in range(1, count):
        left, top, wide, tall, area = (int(value) for value in stats[index])
        if (
            not 9 <= area <= CORE_AREA * flat.size
            or left == 0
            or top == 0
            or left + wide == width
            or top + tall == height
        ):
            continue
        crop = (slice(max(0, top - 4), top + tall + 4), slice(max(0, left - 4), left + wide + 4))
        core = (labels[crop] == index).astype(np.uint8)
        rim = (cv2.dilate(core, np.ones((7, 7), np.uint8)) > 0) & changing_YX[crop]
        around = (cv2.dilate(core, np.ones((7, 7), np.uint8)) > 0) & (core == 0)
        if rim.sum() < 0.15 * around.sum():
            continue
        colour = np.median(lab_YX3[crop][core > 0], axis=0)
        same_SP = far(lab_SYX3[:, crop[0], crop[1]][:, rim], colour) < 2 * alike
        if ((same_SP.mean(0) > 0.05) & (same_SP.mean(0) < 0.97)).mean() > CORE_RIM_SHARE:
            cores[crop] |= cv2.dilate(core, np.ones((5, 5), np.uint8)) > 0
    return cores


def _modes(
    rgb_SYX3: Bytes, lab_SYX3: Picture, inside_SYX: Mask | None, changing_YX: Mask, alike: float
) -> tuple[Picture, Picture, Picture]:
    """The colours that the changing pixels show and for how long: lab_PK3, rgb_PK3, share_PK; 0 where fewer."""
    offered = lab_SYX3[:, changing_YX].transpose(1, 0, 2)
    paint = rgb_SYX3[:, changing_YX].transpose(1, 0, 2).astype(np.float32)
    free = np.ones(offered.shape[:2], np.bool_) if inside_SYX is None else inside_SYX[:, changing_YX].T.copy()
    total_P = np.maximum(free.sum(1), 1)
    rows = np.arange(len(offered))
    lab, rgb, share = [], [], []
    alike_PSS = np.stack([far(offered, offered[:, s, None]) < alike for s in range(offered.shape[1])], 1)
    ones_PSS = alike_PSS.astype(np.float32)  # a product of matrices counts many times faster than a sum of flags
    for _ in range(MODES):
        count_PS = (ones_PSS @ free[:, :, None].astype(np.float32))[..., 0] * free
        members_PS = alike_PSS[rows, count_PS.argmax(1)] & free
        number_P = members_PS.sum(1)
        weight_PS = members_PS / np.maximum(number_P, 1)[:, None]
        lab.append(np.einsum("ps,psc->pc", weight_PS, offered))
        rgb.append(np.einsum("ps,psc->pc", weight_PS, paint))
        share.append(number_P / total_P)
        free &= ~members_PS
    return (
        np.stack(lab, 1).astype(np.float32),
        np.stack(rgb, 1).astype(np.float32),
        np.stack(share, 1).astype(np.float32),
    )


def _usual_step(median_YX3: Bytes, changing_YX: Mask) -> Picture:
    """By how much settled scenery changes from pixel to pixel around each place, in Lab; more where it has texture."""
    lab_YX3 = _smooth_lab(median_YX3)
    step_YX = np.maximum(steps(lab_YX3, 0), steps(lab_YX3, 1))
    settled = (cv2.dilate(changing_YX.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0).astype(np.float32)
    side = (TEXTURE_PX, TEXTURE_PX)
    near = cv2.boxFilter(settled, -1, side, normalize=False)
    sum_YX = cv2.boxFilter(step_YX * settled, -1, side, normalize=False)
    # A few settled pixels may all lie on one edge: as many as are missing count with the step of the whole picture.
    missing = np.maximum(TEXTURE_LEAST * TEXTURE_PX**2 - near, 0.0)
    usual = float(np.median(step_YX[settled > 0])) if settled.any() else 0.0
    step = (sum_YX + missing * usual) / (near + missing)
    return np.maximum(STEP_LAB, TEXTURE_STEPS * step)


def _prices(share_PK: Picture) -> Picture:
    """What each colour of a pixel costs before its neighbours are asked: the rarer the dearer."""
    rare_PK = np.where(share_PK > 0, -np.log(np.maximum(share_PK, 1e-6)), np.inf)
    return np.asarray(RARITY_PRICE * rare_PK, np.float32)


def _darker(rgb_PK3: Picture, share_PK: Picture) -> Mask:
    """PKK: whether the first colour of a pixel is the second one in a shadow."""
    energy_PK = np.maximum((rgb_PK3**2).sum(2), 1.0)
    factor_PKK = np.einsum("pkc,pjc->pkj", rgb_PK3, rgb_PK3) / energy_PK[:, None]
    off_PKK = far(rgb_PK3[:, :, None], factor_PKK[..., None] * rgb_PK3[:, None])
    return (factor_PKK > 0.3) & (factor_PKK < 0.985) & (off_PKK < SHADOW_TINT) & (share_PK > LIT_SHARE)[:, None]


def _with_shadows(price_PK: Picture, away_PK: Picture, darker_PKK: Mask) -> Picture:
    """The prices, the cheapest of a pixel 0, where a colour that is another one darkened costs more than that one.

    A shadow lay there, however long; but only if the lighter colour goes on from its neighbours. What does not is a
    light thing before a darker wall.
    """
    lit_PKK = darker_PKK & (away_PK <= LEVELS[0])[:, None]
    price_PK = np.maximum(price_PK, np.where(lit_PKK, price_PK[:, None] + SHADOW_PRICE, -np.inf).max(2))
    least_P1 = price_PK.min(1, keepdims=True)
    return price_PK - np.where(np.isfinite(least_P1), least_P1, 0)  # a pixel that no frame shows offers nothing


def _away(lab_PK3: Picture, beside_P83: Picture, surface_P83: Picture, step_P: Picture) -> Picture:
    """PK8: how ill each colour of a pixel goes on from each of its neighbours, and from the surface farther out.

    A soft outline leads from one surface into another in small steps, each of which alone would pass.
    """
    steps_PK8 = far_squared(lab_PK3[:, :, None], beside_P83[:, None])
    drift_PK8 = far_squared(lab_PK3[:, :, None], surface_P83[:, None])
    return np.asarray((steps_PK8 + drift_PK8 / DRIFT_STEPS**2) / (2 * step_P[:, None, None] ** 2), np.float32)


def _grown(
    rgb_SYX3: Bytes, lab_SYX3: Picture, inside_SYX: Mask | None, median_YX3: Bytes, changing_YX: Mask, alike: float
) -> tuple[Picture, Mask]:
    """The changing pixels filled in from the rim inwards: the picture, and where no frame shows the scenery.

    Pixels that continue their neighbours without doubt come first, so that each surface fills its own part before
    another can spread over an edge.
    """
    height, width = changing_YX.shape
    lab_PK3, rgb_PK3, share_PK = _modes(rgb_SYX3, lab_SYX3, inside_SYX, changing_YX, alike)
    price_PK, darker_PKK = _prices(share_PK), _darker(rgb_PK3, share_PK)
    step_P = _usual_step(median_YX3, changing_YX)[changing_YX]
    # One pixel of margin around the picture spares a look at its borders; places are indices into the flat picture.
    lab = np.pad(_smooth_lab(median_YX3), ((1, 1), (1, 1), (0, 0))).reshape(-1, 3)
    rgb = np.pad(median_YX3.astype(np.float32), ((1, 1), (1, 1), (0, 0))).reshape(-1, 3)
    surface = lab.copy()  # the colour that each place's surface had farther out
    place_P = np.flatnonzero(np.pad(changing_YX, 1))
    beside = np.array([dy * (width + 2) + dx for dy, dx in NEIGHBOURS])
    settled = np.pad(~changing_YX, 1, constant_values=False).ravel()
    hole = np.zeros(len(settled), np.bool_)
    best_P, cost_P = np.zeros(len(place_P), int), np.full(len(place_P), np.inf)
    from_P = np.zeros(len(place_P), int)
    todo_P = np.arange(len(place_P))
    fresh_P = todo_P
    while len(todo_P):
        near = fresh_P[settled[place_P[fresh_P, None] + beside].any(1)]
        around = place_P[near, None] + beside
        away_PK8 = _away(lab_PK3[near], lab[around], surface[around], step_P[near])
        away_PK8 = np.where(settled[around][:, None], away_PK8, np.inf)
        away_PK = away_PK8.min(2)
        cost_PK = away_PK + _with_shadows(price_PK[near], away_PK, darker_PKK[near])
        best_P[near], cost_P[near] = cost_PK.argmin(1), cost_PK.min(1)
        which = np.arange(len(near))
        from_P[near] = around[which, away_PK8[which, best_P[near]].argmin(1)]
        front = todo_P[np.isfinite(cost_P[todo_P])]
        if not len(front):
            break
        level = next((limit for limit in LEVELS if (cost_P[front] <= limit).any()), np.inf)
        chosen = front[cost_P[front] <= level]
        where = place_P[chosen]
        if np.isinf(level):  # no colour of theirs goes on from what is settled
            around = where[:, None] + beside
            weight = settled[around] / settled[around].sum(1, keepdims=True)
            for picture in (lab, rgb, surface):
                picture[where] = np.einsum("pn,pnc->pc", weight, picture[around])
            hole[where] = True
        else:
            lab[where], rgb[where] = lab_PK3[chosen, best_P[chosen]], rgb_PK3[chosen, best_P[chosen]]
            surface[where] = (1 - TURN) * surface[from_P[chosen]] + TURN * lab[where]
        settled[where] = True
        cost_P[chosen] = np.inf
        todo_P = todo_P[~settled[place_P[todo_P]]]
        touched = np.zeros(len(settled), np.bool_)
        touched[where[:, None] + beside] = True
        fresh_P = todo_P[touched[place_P[todo_P]]]
    inner = (slice(1, -1), slice(1, -1))
    return rgb.reshape(height + 2, width + 2, 3)[inner], hole.reshape(height + 2, width + 2)[inner]
