"""vanish: a thing in full view does not cease to exist.

Formula: m = frames in which it is missing though nothing hides it and no border is near, n = frames that showed it
before, N = frames of the shot; strength = sqrt((min(m, 3 (n - 3)) - 2) / N), less for things below 3 % of the diagonal.
Source: object permanence (Baillargeon 1987; IntPhys, Riochet et al. 2018, arXiv:1803.07616, block O1).
Strength: square root of a share of the shot, 0..1. A thing that is lost and at once found again elsewhere is
`teleport`; one that something hid is `count`; one that ran into another is left out, and so is what broke, with its
pieces. Abstains where nothing shows that is whole.
"""

from vgen.judge.observation import Observation, Sight, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.lives import absences, certainty, in_touch, merged_near, successions, unbroken

__all__ = ["RULE"]


def measure(observation: Observation) -> Measured:
    carried_on = {old.id for old, _ in successions(observation)}
    found = tuple(_of(observation, track, track.id in carried_on) for track in unbroken(observation))
    return found or Abstention(status="not_applicable", reason="no whole thing to be seen")


def _of(observation: Observation, track: Track, carried_on: bool) -> Measurement:
    first, past = observation.shot
    showed_F = track.sight_F <= Sight.PARTLY
    worst = (0.0, first, past, 0)
    for gone in absences(observation, track):
        if gone.cause != "lost" or gone.before is None or (carried_on and gone.after is None):
            continue
        if merged_near(observation, track, gone.start) or in_touch(observation, track, gone.before):
            continue
        missing = gone.end - gone.start
        strength = certainty(observation, track, missing, int(showed_F[first : gone.start].sum()))
        worst = max(worst, (strength, gone.start, gone.end, missing))
    strength, start, end, missing = worst
    return Measurement(
        strength=strength,
        frames=(max(first, start - 1), end - 1),
        objects=(track.id,),
        quantity="time missing in full view, frames",
        value=float(missing),
        expected=0.0,
        sigma=1.0,
        text=f"thing {track.id} ceases to show at frame {start}, with nothing to hide it, for {missing} frames"
        if strength
        else f"thing {track.id} never ceases to show in full view",
    )


RULE = Rule(
    name="vanish",
    group="permanence",
    statement="A thing in full view does not cease to exist.",
    measure=measure,
    motion=False,
)
