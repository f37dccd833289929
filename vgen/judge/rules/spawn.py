"""spawn: a thing does not begin to exist in full view.

Formula: m = frames of the shot before it first shows though nothing hid it and no border is near, n = frames that show
it from then on, N = frames of the shot; strength = sqrt((min(n, 3 (m - 3)) - 2) / N), less for things below 3 % of the
diagonal.
Source: object permanence (IntPhys, Riochet et al. 2018, arXiv:1803.07616, block O1).
Strength: square root of a share of the shot, 0..1. A thing that carries on a lost one is `teleport`; one that comes out
of hiding is `count`; what broke, and its pieces, are left out.
Abstains where nothing shows that is whole.
"""

from vgen.judge.observation import Observation, Sight, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.lives import absences, certainty, in_touch, successions, unbroken

__all__ = ["RULE"]


def measure(observation: Observation) -> Measured:
    carries_on = {new.id for _, new in successions(observation)}
    found = tuple(_of(observation, track, track.id in carries_on) for track in unbroken(observation))
    return found or Abstention(status="not_applicable", reason="no whole thing to be seen")


def _of(observation: Observation, track: Track, carries_on: bool) -> Measurement:
    first, past = observation.shot
    start, missing, strength = first, 0, 0.0
    for gone in absences(observation, track):
        if gone.cause != "lost" or gone.before is not None or gone.after is None or carries_on:
            continue
        if in_touch(observation, track, gone.after):
            continue
        shown = int((track.sight_F[gone.after : past] <= Sight.PARTLY).sum())
        start, missing = gone.after, gone.end - gone.start
        strength = certainty(observation, track, shown, missing)
    return Measurement(
        strength=strength,
        frames=(max(first, start - 1), past - 1 if strength == 0 else start),
        objects=(track.id,),
        quantity="time missing before it first shows in full view, frames",
        value=float(missing),
        expected=0.0,
        sigma=1.0,
        text=f"thing {track.id} begins to show at frame {start}, out of nothing"
        if strength
        else f"thing {track.id} does not come out of nothing",
    )


RULE = Rule(
    name="spawn",
    group="permanence",
    statement="A thing does not begin to exist in full view.",
    measure=measure,
    motion=False,
)
