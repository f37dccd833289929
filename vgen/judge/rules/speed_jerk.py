"""speed_jerk: on its ground a thing does not change its speed all at once, and nothing halts in mid-air or mid-way.

Formula: at every joint of two smooth stretches on the ground with nothing near to push it, or of a flight and a rest in
mid-air, the change of the velocity along its way over the larger of the speed before and half the speed after, but for
a stop that was due within four frames; and for a thing that stands exactly still for some frames and then goes on as
before, 1 (all of its speed, twice).
Source: Newton's first law; friction changes a velocity steadily (Coulomb).
Strength: shares of the speed, three standard errors taken off. In the air only what comes to rest counts, a change of
direction there is `midair_turn`, one from rest `motion_without_cause`.
Abstains where nothing moves in full view.
"""

import numpy as np

from vgen.judge.observation import Floats, Observation, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.courses import excused, lost_camera
from vgen.judge.rules.lives import bodies, noise_px, runs
from vgen.judge.rules.segments import Joint, Path, paths, usable

__all__ = ["RULE"]

KNOCKS = ("contact", "bounce", "separation", "merge")
HALT_FRAMES = 6  # a longer stop is a rest
ALIKE = 0.3  # share by which the speeds before and after a halt may differ
COMPANY_FRAMES, COMPANY_D = 5, 1.0  # another body this near within these frames
LEAP_D = 0.1  # diameters: a farther one is `teleport`
RUN_OUT_FRAMES = 4.0  # before it would have stopped by itself, a stop is none at once
LEAST = 3  # frames of motion on either side of a halt


def measure(observation: Observation) -> Measured:
    if blind := lost_camera(observation):
        return blind
    moving = [p for p in paths(observation) if not p.swings]
    found = tuple(m for path in moving if (m := _of(observation, path)) is not None)
    return found or Abstention(status="not_applicable", reason="nothing moves in full view")


def _of(observation: Observation, path: Path) -> Measurement | None:
    track = path.track
    if all(segment.resting(track.diameter_px) for segment in path.segments):
        return None
    first, last = path.segments[0].first, path.segments[-1].last
    worst = (0.0, 0.0, 0.0, first, last)
    for joint in path.joints:
        if not _company(observation, track, joint.frame):
            worst = max(worst, _kick(joint, track.diameter_px))
    for halt in _halts(observation, track):
        worst = max(worst, halt)
    strength, value, sigma, start, end = worst
    return Measurement(
        strength=strength,
        frames=(start, end),
        objects=(track.id,),
        quantity="change of speed at once, shares of the speed",
        value=value,
        expected=0.0,
        sigma=sigma,
        text=f"thing {track.id} changes its speed by {100 * value:.0f} % between frames {start} and {end}, "
        "with nothing to push it"
        if strength
        else f"thing {track.id} changes its speed steadily",
    )


def _company(observation: Observation, track: Track, frame: float) -> bool:
    """Whether another body is near, or was or will be soon: what it does to this one is for other rules to judge."""
    around = slice(max(0, int(frame) - COMPANY_FRAMES), int(frame) + COMPANY_FRAMES + 1)
    return any(
        bool((observation.gap(track.id, other.id)[around] < COMPANY_D * track.diameter_px).any())
        for other in bodies(observation)
        if other.id != track.id
    )


def _kick(joint: Joint, diameter_px: float) -> tuple[float, float, float, int, int]:
    """Strength, value, standard error and frames of a change of speed at once; zeros where it has a cause."""
    nothing = (0.0, 0.0, 0.0, *joint.frames)
    v_x, v_y = np.abs(joint.v_before_2)
    grounded = v_y <= v_x and joint.before.ground == joint.after.ground == "ground"
    halts = joint.before.ground == joint.after.ground == "air" and joint.after.resting(diameter_px)
    leaps = joint.passage == "jump" and joint.jump_px >= LEAP_D * diameter_px  # a smaller one is noise of the place
    if leaps or joint.passage in ("unclear", "bend"):
        return nothing
    if not (grounded or halts) or joint.causes - {"surface"}:
        return nothing
    speed_in, speed_out = (float(np.linalg.norm(v)) for v in (joint.v_before_2, joint.v_after_2))
    speed = max(speed_in, speed_out / 2)
    if speed_in < max(0.15 * speed_out, 3 * joint.kick_sigma):
        return nothing
    slows = -float(joint.before.fit.at(joint.frame, 2) @ joint.v_before_2) / speed_in
    if speed_out < 3 * joint.kick_sigma and speed_in < RUN_OUT_FRAMES * slows:  # it was about to stop
        return nothing
    value = float(abs(joint.kick_2 @ joint.v_before_2)) / speed_in / speed
    sigma = joint.kick_sigma / speed
    return max(0.0, value - 3 * sigma), value, sigma, *joint.frames


def _halts(observation: Observation, track: Track) -> list[tuple[float, float, float, int, int]]:
    """Stops of a few frames within unbroken motion, as in `_kick`."""
    found = []
    sigma = noise_px(track)
    for start, end in runs(usable(observation, track)):
        step_N2 = np.diff(track.xy_F2[start:end], axis=0)
        size_N = np.linalg.norm(step_N2, axis=-1)
        for halt, go in runs(size_N < 4 * sigma):
            if go - halt > HALT_FRAMES or halt < LEAST or len(size_N) - go < LEAST:
                continue
            before_2, after_2 = step_N2[halt - LEAST : halt].mean(0), step_N2[go : go + LEAST].mean(0)
            if not _goes_on(before_2, after_2, sigma):
                continue
            if excused(observation, track, start + halt - 2, start + go + 2, KNOCKS):
                continue
            speed = float(np.linalg.norm(before_2 + after_2) / 2)
            stood = float(size_N[halt:go].min()) / speed
            error = sigma * np.sqrt(2) / speed
            found.append((max(0.0, 1 - stood - 3 * error), 1 - stood, error, start + halt, start + go))
    return found


def _goes_on(before_2: Floats, after_2: Floats, sigma: float) -> bool:
    one, other = float(np.linalg.norm(before_2)), float(np.linalg.norm(after_2))
    if min(one, other) < 10 * sigma:
        return False
    return bool(before_2 @ after_2 > 0.9 * one * other) and abs(one - other) < ALIKE * max(one, other)


RULE = Rule(
    name="speed_jerk",
    group="continuity",
    statement="On its ground a thing does not change its speed all at once, and nothing halts in mid-air or mid-way.",
    measure=measure,
)
