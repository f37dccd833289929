"""All scene families: how each is staged, which laws it can break, and whether rules may be tuned on it.

A new family needs its stage in one of the rooms below and its entry here; every law needs a family on either side of
the split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from vgen.playground.scene import Dice
from vgen.playground.twins import falling, floor, hanging, hiding, matter, optics, rows
from vgen.playground.twins.severity import SEVERITY
from vgen.playground.twins.staging import Staged, Wrong

__all__ = ["FAMILIES", "LAWS", "SPLITS", "Family", "Split"]

Split = Literal["calibration", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Scenes of one kind.

    Args:
        split: rules are tuned on `calibration` alone.
        stage: makes the scene of some dice, with a breach in it if asked for.
        laws: that it can break, one at a time.
    """

    split: Split
    stage: Callable[[Dice, Wrong], Staged]
    laws: tuple[str, ...]


def _tune(stage: Callable[[Dice, Wrong], Staged], *laws: str) -> Family:
    return Family(split="calibration", stage=stage, laws=laws)


def _test(stage: Callable[[Dice, Wrong], Staged], *laws: str) -> Family:
    return Family(split="test", stage=stage, laws=laws)


_STRIKES = ("effect_before_cause", "missing_effect", "solidity")
_LOOKS = ("teleport", "vanish", "spawn", "size", "colour")
_HIDINGS = ("identity", "reappear")

FAMILIES: dict[str, Family] = {
    "drop": _tune(falling.drop, "restitution", "const_accel", "rigid_deform", *_LOOKS),
    "throw": _test(
        falling.throw, "restitution", "const_accel", "midair_turn", "energy", "rigid", "rigid_deform", *_LOOKS
    ),
    "lob": _tune(falling.lob, "midair_turn", "energy", "const_accel", "rigid", *_LOOKS),
    "pair_drop": _tune(partial(falling.drops, count=2), "drop_ratio"),
    "trio_drop": _test(partial(falling.drops, count=3), "drop_ratio"),
    "pair_throw": _tune(partial(falling.throws, drop_one=False), "common_gravity"),
    "toss_and_drop": _test(partial(falling.throws, drop_one=True), "common_gravity"),
    "tumble_throw": _tune(partial(falling.tumble, dropped=False), "spin", "rigid"),
    "tumble_drop": _test(partial(falling.tumble, dropped=True), "spin", "rigid"),
    "release": _tune(falling.release, "support", "const_accel"),
    "ledge": _tune(falling.ledge, "support"),
    "stack": _test(falling.stack, "support"),
    "roll": _tune(floor.roll, "friction", "speed_jerk", *_LOOKS),
    "slide": _test(floor.slide_out, "friction", "speed_jerk", *_LOOKS),
    "ramp": _tune(partial(floor.ramp, valley=False), "energy"),
    "valley": _test(partial(floor.ramp, valley=True), "energy"),
    "bystander": _tune(floor.bystander, "motion_without_cause", "spawn"),
    "still": _test(floor.still, "motion_without_cause", "spawn"),
    "strike": _tune(partial(rows.row, form="ball", count=2, alike=True), *_STRIKES),
    "shove": _test(partial(rows.row, form="box", count=2, alike=False, slowing=0.3), *_STRIKES),
    "relay": _tune(partial(rows.row, form="ball", count=3, alike=True), "event_order", *_STRIKES),
    "row": _test(partial(rows.row, form="box", count=4, alike=False), "event_order", *_STRIKES),
    "clash": _tune(partial(rows.clash, level=True), "momentum", "solidity"),
    "glance": _test(partial(rows.clash, level=False), "momentum", "solidity"),
    "behind": _tune(partial(hiding.behind, count=1), *_HIDINGS, "count"),
    "two_behind": _test(partial(hiding.behind, count=2), "identity", "count"),
    "fly_behind": _tune(hiding.fly_behind, *_HIDINGS, "path_behind_occluder"),
    "fall_behind": _test(hiding.fall_behind, *_HIDINGS, "path_behind_occluder"),
    "parked": _test(hiding.parked, "size", "colour"),
    "pendulum": _tune(partial(hanging.swing, damped=False), "pendulum"),
    "damped_pendulum": _test(partial(hanging.swing, damped=True), "pendulum"),
    "shadow_hop": _tune(partial(optics.shadowed, hopping=True), "shadow_follows"),
    "shadow_arc": _test(partial(optics.shadowed, hopping=False), "shadow_follows"),
    "mirror_slide": _tune(partial(optics.mirrored_ball, hopping=False), "mirror"),
    "mirror_hop": _test(partial(optics.mirrored_ball, hopping=True), "mirror"),
    "cross": _tune(partial(optics.cross, flying=False), "occlusion_order"),
    "cross_flying": _test(partial(optics.cross, flying=True), "occlusion_order"),
    "shatter": _tune(matter.shatter, "irreversibility"),
    "smash": _test(matter.smash, "irreversibility"),
    "paint_roll": _tune(partial(matter.painted, falling=False), "consequence_persists"),
    "paint_drop": _test(partial(matter.painted, falling=True), "consequence_persists"),
    "tilted_vessel": _tune(partial(matter.vessel, tilting=True), "liquid_level"),
    "drawn_vessel": _test(partial(matter.vessel, tilting=False), "liquid_level"),
}
LAWS: dict[str, tuple[str, ...]] = {
    law: tuple(name for name, family in FAMILIES.items() if law in family.laws) for law in SEVERITY
}
