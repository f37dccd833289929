"""One piece of a suite, from its names to what the rules said: drawn, perceived, measured, held against the truth."""

import time
import zlib

import numpy as np

from vgen.errors import InputError
from vgen.judge.calibration.metrics import temporal_iou
from vgen.judge.calibration.outcomes import Finding, Flags, Floats, Outcome
from vgen.judge.calibration.suite import SWAP_SEVERITY, Piece
from vgen.judge.card import Card
from vgen.judge.judging import report_on
from vgen.judge.observation import Observation
from vgen.judge.perception.observe import observe
from vgen.judge.rule import Measurement
from vgen.judge.verdict import Verdict
from vgen.playground.twins.attack import ATTACKS
from vgen.playground.twins.camera import STILL
from vgen.playground.twins.film import Actor, Take, Truth
from vgen.playground.twins.nuisance import NUISANCES, draw_with
from vgen.playground.twins.suite import quadruplet, take, twin

__all__ = ["SHAPES", "perform", "take_of"]

SHAPES = ((192, 192), (180, 240), (216, 216))  # height and width of clips, by the seed
DIGITS = 6
NOTHING_CALIBRATED = Card(rules={})  # so that every measurement comes through as it is


def perform(piece: Piece) -> Outcome:
    """What the rules say of a piece; no findings where its scene does not allow its nuisance."""
    shown = take_of(piece)
    height, width = SHAPES[piece.seed % len(SHAPES)]
    lots = zlib.crc32(f"{piece.family} {piece.drawing}".encode()) << 24 | piece.seed % (1 << 24)
    try:
        frames_FYX3, fps, truth = draw_with(
            shown, piece.world, NUISANCES[piece.nuisance], height=height, width=width, seed=lots
        )
    except InputError:
        return Outcome(piece=piece, findings={}, seconds=0.0)
    if piece.attack is not None:
        edited_FYX3 = ATTACKS[piece.attack](frames_FYX3, piece.seed)
        if np.array_equal(edited_FYX3, frames_FYX3):  # frozen when all was over
            return Outcome(piece=piece, findings={}, seconds=0.0)
        frames_FYX3 = edited_FYX3
    since = time.process_time()
    seen = observe(frames_FYX3, fps)
    report = report_on(seen, card=NOTHING_CALIBRATED)
    seconds = time.process_time() - since
    broken = truth if piece.law is not None and piece.attack is None else None
    places = _places(shown, seen, broken, piece)
    return Outcome(
        piece=piece,
        findings={verdict.rule: _finding(verdict, seen, broken, places) for verdict in report.verdicts},
        seconds=seconds,
    )


def take_of(piece: Piece) -> Take:
    """The take of a piece, before any nuisance."""
    if piece.swap is not None:
        there = quadruplet(piece.swap, piece.seed, SWAP_SEVERITY, piece.family)
        return there[1 if piece.law is None else 3]
    if piece.law is None:
        return take(piece.family, piece.seed)
    return twin(piece.law, piece.seed, piece.severity, piece.family)[1]


def _finding(verdict: Verdict, seen: Observation, broken: Truth | None, places: Floats | None) -> Finding:
    if not verdict.evidence:
        assert verdict.status in ("not_applicable", "undecidable", "error"), verdict.status
        return Finding(state=verdict.status)
    top = verdict.evidence[0]
    strength = float(f"{top.strength:.{DIGITS}g}")
    if broken is None or broken.frames is None:
        return Finding(state="measured", strength=strength)
    iou = round(temporal_iou(top.frames, broken.frames), DIGITS)
    hit = None if places is None else _hits(top, seen, places)
    return Finding(state="measured", strength=strength, iou=iou, hit=hit)


def _places(shown: Take, seen: Observation, broken: Truth | None, piece: Piece) -> Floats | None:
    """Where those that break the law are, in pixels, per frame [N, F, 2]; NaN where they do not show.

    None for possible clips, where no actor breaks the law (a liquid does), and where the camera or the clock moves,
    which leaves film and clip in different coordinates.
    """
    nuisance = NUISANCES[piece.nuisance]
    if broken is None or not broken.actors or nuisance.camera != STILL or shown.film.frames != seen.num_frames:
        return None
    scale = min(seen.height, seen.width)
    middle = np.array([seen.width / 2, seen.height / 2])
    actors = [shown.film.actors[index] for index in broken.actors]
    return np.stack([np.where(_shown(a)[:, None], middle + (a.xy_F2 - 0.5) * (scale, -scale), np.nan) for a in actors])


def _shown(actor: Actor) -> Flags:
    return np.asarray(actor.shown_F > 0)


def _hits(top: Measurement, seen: Observation, places_NF2: Floats) -> bool:
    """Whether one of the measurement's tracks stays within a diameter of a true place, in the median."""
    for track in (seen.tracks[index] for index in top.objects):
        for place_F2 in places_NF2:
            off_F = np.hypot(*(track.xy_F2 - place_F2).T)
            near = off_F[np.isfinite(off_F)]
            if near.size and np.median(near) < track.diameter_px:
                return True
    return False
