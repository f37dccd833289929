"""shadow_follows: a shadow goes where its thing goes, at the same time.

Formula: under a distant light a thing at (x, y) throws its shadow to x + a + b y; a and b by least absolute deviations
over all frames in which it moves and that show it wholly and most of a shadow, of several shadows the one nearest to
where it should be; the largest median of what is left over in five frames running, over the diameter. A shadow belongs
to the thing that it stays nearest to, and one farther off than a diameter, beside other things, to none.
Source: geometry of cast shadows (Kersten, Mamassian and Knill 1997); PhyGround, arXiv:2605.10806, law shadow.
Strength: diameters of the thing, .08 and three standard errors taken off.
Abstains where no shadow is seen of its own, where no thing with one moves by a diameter, or where noise hides half of
one.
"""

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats, Observation, Sight, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.courses import lost_camera
from vgen.judge.rules.lives import bodies, noise_px, unbroken

__all__ = ["RULE"]

LEAST = 8  # frames that show both
RUN = 5  # frames
FLOOR_D = 0.08
CLEAR = 0.5  # diameters
MOST = 0.6  # of its usual area
BRIEF, STAIN_D = 0.3, 0.5  # of the frames; diameters that a thing moves, and a stain less than half of
STRAY_D = 1.5  # of its own diameters, up or down
FLOOR_APART_D = 1.5  # diameters of the thing
OWN_D = 1.0  # diameters: beside other things, one farther off is nobody's


def measure(observation: Observation) -> Measured:
    if blind := lost_camera(observation):
        return blind
    shadows = [track for track in observation.tracks if track.kind == "shadow"]
    if not shadows:
        return Abstention(status="not_applicable", reason="no shadow is seen of its own")
    things = bodies(observation)
    owners = [_owner(shadow, things) for shadow in shadows]
    measured = []
    for body in unbroken(observation):
        own = [shadow for shadow, owner in zip(shadows, owners, strict=True) if owner is body]
        own = [shadow for shadow in own if not _is_stain(shadow, body)]
        own = _on_one_floor(own, body)
        if own and (m := _of(body, own, len(things) == 1)) is not None:
            measured.append(m)
    found = tuple(m for m in measured if 3 * m.sigma <= CLEAR)
    if found:
        return found
    if measured:
        return Abstention(status="undecidable", reason="noise hides half a diameter")
    return Abstention(status="not_applicable", reason="no shadow is seen together with a thing that moves")


def _owner(shadow: Track, things: tuple[Track, ...]) -> Track | None:
    """The thing that a shadow stays nearest to, sideways; None where it is never seen together with one."""
    away = {thing: np.abs(thing.xy_F2[:, 0] - shadow.xy_F2[:, 0]) for thing in things}
    medians = {thing: float(np.nanmedian(away_F)) for thing, away_F in away.items() if np.isfinite(away_F).any()}
    return min(medians, key=lambda thing: medians[thing], default=None)


def _on_one_floor(shadows: list[Track], body: Track) -> list[Track]:
    """Those as high as the one that shows longest: other darkenings lie up and down the picture."""
    if not shadows:
        return []
    floor = _level(max(shadows, key=lambda shadow: int(_shows(shadow).sum())))
    return [shadow for shadow in shadows if abs(_level(shadow) - floor) < FLOOR_APART_D * body.diameter_px]


def _level(shadow: Track) -> float:
    return float(np.nanmedian(shadow.xy_F2[:, 1]))


def _is_stain(shadow: Track, body: Track) -> bool:
    """Whether a patch comes up beside what moves, stays where it is, and goes: coarse coding leaves such."""
    both = np.flatnonzero(_shows(shadow) & body.seen_F)
    if not both.size or (shadow.sight_F <= Sight.PARTLY).mean() > BRIEF:
        return False
    moved, stayed = (float(np.ptp(track.xy_F2[both, 0])) for track in (body, shadow))
    return moved > STAIN_D * body.diameter_px > 2 * stayed


def _of(body: Track, shadows: list[Track], alone: bool) -> Measurement | None:
    """Where a shadow lies farthest from where this thing throws it; None where none can be told to be its own."""
    moves_F = body.seen_F & _moving(body)
    x_FS = np.stack([np.where(_shows(shadow) & moves_F, shadow.xy_F2[:, 0], np.nan) for shadow in shadows], -1)
    frames = np.flatnonzero(np.isfinite(x_FS).any(-1))
    if len(frames) < LEAST:
        return None
    bx_N, by_N = body.xy_F2[frames].T
    offset_NS = x_FS[frames] - bx_N[:, None]
    offset_N = _nearest(offset_NS, np.zeros(len(frames)))
    for _ in range(3):
        offset_N = _nearest(offset_NS, _thrown(offset_N, by_N))
    if max(np.ptp(bx_N), np.ptp(bx_N + offset_N)) < body.diameter_px:
        return None
    left_N = np.abs(offset_N - _thrown(offset_N, by_N)) / body.diameter_px
    if not alone:
        own_N = left_N < OWN_D
        if np.median(left_N) > OWN_D / 2 or own_N.sum() < LEAST:
            return None
        left_N, frames = left_N[own_N], frames[own_N]
    run_N = np.array([np.median(left_N[i : i + RUN]) for i in range(len(left_N) - RUN + 1)])
    i = int(run_N.argmax())
    sigma = float(np.hypot(noise_px(body), max(map(noise_px, shadows)))) / body.diameter_px
    strength = max(0.0, float(run_N[i]) - FLOOR_D - 3 * sigma)
    return Measurement(
        strength=strength,
        frames=(int(frames[i]), int(frames[i + RUN - 1])),
        objects=(body.id,),
        quantity="distance of the shadow from where its thing throws it, diameters",
        value=float(run_N[i]),
        expected=0.0,
        sigma=sigma,
        text=f"the shadow of thing {body.id} lies {run_N[i]:.2f} diameters off where it belongs at frame {frames[i]}"
        if strength
        else f"the shadow of thing {body.id} goes with it",
    )


def _shows(shadow: Track) -> npt.NDArray[np.bool_]:
    """Frames that show most of it: on something darker, or on paint, a part of it is not seen.

    And as high as it mostly lies: what goes far up or down from there was another darkening.
    """
    usual = float(np.nanquantile(shadow.area_px_F, 0.75))
    off_F = np.abs(np.nan_to_num(shadow.xy_F2[:, 1]) - _level(shadow))
    shown_F = shadow.seen_F & (np.nan_to_num(shadow.area_px_F) > MOST * usual)
    return np.asarray(shown_F & (off_F < STRAY_D * shadow.diameter_px))


def _moving(body: Track) -> npt.NDArray[np.bool_]:
    """Frames in which it goes at a tenth of its top speed at least: a shadow at rest is part of the background."""
    speed_F = np.linalg.norm(np.gradient(body.xy_F2, axis=0), axis=-1)
    top = np.nanquantile(speed_F, 0.9) if np.isfinite(speed_F).any() else np.inf
    return np.asarray(np.nan_to_num(speed_F) > 0.1 * top)


def _nearest(offset_NS: Floats, expected_N: Floats) -> Floats:
    """Of the shadows of each frame the one nearest to an expected offset."""
    away_NS = np.nan_to_num(np.abs(offset_NS - expected_N[:, None]), nan=np.inf)
    return np.asarray(offset_NS[np.arange(len(offset_NS)), away_NS.argmin(-1)])


def _thrown(offset_N: Floats, y_N: Floats) -> Floats:
    """Offsets a + b y by least absolute deviations (iteratively reweighted least squares)."""
    basis_N2 = np.column_stack([np.ones_like(y_N), y_N - y_N.mean()])
    weight_N = np.ones_like(y_N)
    fitted_N = offset_N
    for _ in range(30):
        root_N = np.sqrt(weight_N)
        fit_2, *_ = np.linalg.lstsq(basis_N2 * root_N[:, None], offset_N * root_N, rcond=1e-6)
        fitted_N = basis_N2 @ fit_2
        weight_N = 1 / np.maximum(np.abs(offset_N - fitted_N), 1e-3 * (np.ptp(offset_N) + 1e-9))
    return fitted_N


RULE = Rule(
    name="shadow_follows",
    group="optics",
    statement="A shadow goes where its thing goes, at the same time.",
    measure=measure,
)
