"""reappear: what goes behind something comes out when its speed says.

Formula: a thing that goes in at x_b with velocity v_b and comes out n frames later at x_a with v_a has, under steady
acceleration, x_a - x_b = n (v_b + v_a) / 2, with v_a held within 30 % of v_b along the level, for friction. The part of
what is left over that lies along its way, in diameters: early or late, near or far.
Source: spatiotemporal continuity (Spelke et al. 1995; IntPhys, arXiv:1803.07616, block O3).
Strength: diameters, three standard errors taken off. Height and direction are `path_behind_occluder`.
Abstains where nothing goes behind something and comes out again, or where noise hides half a diameter.
"""

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.courses import crossing, lost_camera
from vgen.judge.rules.lives import passages

__all__ = ["RULE"]

CLEAR = 0.5  # diameters: three standard errors beyond it cannot show a jump of one diameter


def measure(observation: Observation) -> Measured:
    if blind := lost_camera(observation):
        return blind
    found, noisy = [], False
    for passage in passages(observation):
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


RULE = Rule(
    name="reappear",
    group="permanence",
    statement="What goes behind something comes out when its speed says.",
    measure=measure,
)
