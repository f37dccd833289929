"""reappear: what goes behind something comes out when its speed says.

Formula: a thing that goes in at x_b with velocity v_b and comes out n frames later at x_a with v_a has, under steady
acceleration, x_a - x_b = n (v_b + v_a) / 2, with v_a held within 30 % of v_b along the level, for friction. The part of
what is left over that lies along its way, in diameters: early or late, near or far.
Source: spatiotemporal continuity (Spelke et al. 1995; IntPhys, arXiv:1803.07616, block O3).
For one that falls behind something that hangs free and never comes out below, how far it should have come.
Strength: diameters, three standard errors taken off. Height and direction are `path_behind_occluder`.
Abstains where nothing goes behind something and comes out again, or where noise hides half a diameter.
"""

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.courses import crossing, lost_camera
from vgen.judge.rules.flights import falls_freely
from vgen.judge.rules.lives import Passage, passages
from vgen.judge.rules.segments import paths

__all__ = ["RULE"]

STANDS_D = 2.0  # diameters: what ends so little above the picture's lower edge may stand on the ground
MOST_D = 3.0  # diameters; what comes after that says no more
CLEAR = 0.5  # diameters: three standard errors beyond it cannot show a jump of one diameter


def measure(observation: Observation) -> Measured:
    if blind := lost_camera(observation):
        return blind
    found, noisy = [], False
    for passage in passages(observation):
        if (lost := _never_out(observation, passage)) is not None:
            found.append(lost)
            continue
        way = crossing(observation, passage)
        if way is None or way.turn > 1:  # it turned round: there is no time to come out on the far side
            continue
        if 3 * way.sigma > CLEAR:
            noisy = True
            continue
        assert passage.entering and passage.leaving and passage.last is not None and passage.first is not None
        found.append(
            Measurement(
                strength=max(0.0, abs(way.along) - 3 * way.sigma),
                frames=(passage.last, passage.first),
                objects=tuple(sorted({passage.entering.id, passage.leaving.id})),
                quantity="place along its way where it comes out, less where it should, diameters",
                value=way.along,
                expected=0.0,
                sigma=way.sigma,
                text=f"thing {passage.leaving.id} comes out at frame {passage.first}, {abs(way.along):.2f} diameters "
                f"{'ahead of' if way.along > 0 else 'behind'} where its speed takes it",
            )
        )
    if found:
        return tuple(found)
    if noisy:
        return Abstention(status="undecidable", reason="noise hides half a diameter")
    return Abstention(status="not_applicable", reason="nothing moves behind something and comes out again")


def _never_out(observation: Observation, passage: Passage) -> Measurement | None:
    """How far below a free hanging hider a falling thing should be by now; None where it came out, or need not have."""
    track, box = passage.entering, passage.box
    if track is None or box is None or passage.leaving is not None or passage.last is None:
        return None
    size, end = track.diameter_px, observation.shot[1] - 1
    if box[3] + STANDS_D * size > observation.height:
        return None
    falls = [
        segment
        for path in paths(observation)
        if path.track is track
        for segment in path.good
        if segment.last <= passage.last and segment.ground == "air" and falls_freely(observation, segment)
    ]
    if not falls:
        return None
    fit = falls[-1].fit
    below = float(fit.at(end)[1]) - size / 2 - box[3]  # beyond the moment at which it shows wholly
    sigma = fit.error(end)
    if 3 * sigma > below or below < size:
        return None
    return Measurement(
        strength=min(below - 3 * sigma, MOST_D * size) / size,
        frames=(passage.last, end),
        objects=(track.id,),
        quantity="way below what hides it that it should have come, diameters",
        value=below / size,
        expected=0.0,
        sigma=sigma / size,
        text=f"thing {track.id} falls behind something after frame {passage.last} and never comes out below",
    )


RULE = Rule(
    name="reappear",
    group="permanence",
    statement="What goes behind something comes out when its speed says.",
    measure=measure,
)
