"""path_behind_occluder: out of sight a thing keeps its height and its direction.

Formula: as in `reappear`, the part of x_a - x_b - n (v_b + v_a) / 2 across its way, in diameters; or the change of its
level velocity beyond the 30 % that friction may take, |v_a - v_b| / |v_b| - .3, where that is more.
Source: spatiotemporal continuity (Spelke et al. 1995; IntPhys2, arXiv:2506.09849, condition continuity).
Strength: diameters, or shares of the velocity; three standard errors taken off. When it comes out is `reappear`.
Heights are left out where it may have bounced unseen.
Abstains where nothing goes behind something and comes out again, or where noise hides half a diameter.
"""

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.courses import Crossing, crossing, lost_camera
from vgen.judge.rules.lives import Passage, passages

__all__ = ["RULE"]

CLEAR = 0.5  # diameters


def measure(observation: Observation) -> Measured:
    if blind := lost_camera(observation):
        return blind
    ways = [(passage, crossing(observation, passage)) for passage in passages(observation)]
    known = [(passage, way) for passage, way in ways if way is not None]
    found = tuple(_of(passage, way) for passage, way in known if 3 * way.sigma <= CLEAR)
    if found:
        return found
    if known:
        return Abstention(status="undecidable", reason="noise hides half a diameter")
    return Abstention(status="not_applicable", reason="nothing moves behind something and comes out again")


def _of(passage: Passage, way: Crossing) -> Measurement:
    assert passage.entering and passage.leaving and passage.last is not None and passage.first is not None
    across = 0.0 if way.hidden_bounce else max(0.0, abs(way.across) - 3 * way.sigma)
    turn = max(0.0, way.turn - 3 * way.turn_sigma)
    frames, objects = (passage.last, passage.first), tuple(sorted({passage.entering.id, passage.leaving.id}))
    if turn > across:
        return Measurement(
            strength=turn,
            frames=frames,
            objects=objects,
            quantity="change of its level velocity out of sight, beyond friction, shares of that velocity",
            value=way.turn,
            expected=0.0,
            sigma=way.turn_sigma,
            text=f"thing {passage.leaving.id} comes out at frame {passage.first} with another velocity",
        )
    return Measurement(
        strength=across,
        frames=frames,
        objects=objects,
        quantity="place across its way where it comes out, less where it should, diameters",
        value=way.across,
        expected=0.0,
        sigma=way.sigma,
        text=f"thing {passage.leaving.id} comes out at frame {passage.first}, {abs(way.across):.2f} diameters "
        "beside its way",
    )


RULE = Rule(
    name="path_behind_occluder",
    group="continuity",
    statement="Out of sight a thing keeps its height and its direction.",
    measure=measure,
)
