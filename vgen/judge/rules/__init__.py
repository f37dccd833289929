"""All rules, by name, in the order of their groups. One law per file; `vgen.judge.rule` says how to add one."""

from vgen.judge.rule import Rule
from vgen.judge.rules.colour import RULE as COLOUR
from vgen.judge.rules.common_gravity import RULE as COMMON_GRAVITY
from vgen.judge.rules.consequence_persists import RULE as CONSEQUENCE_PERSISTS
from vgen.judge.rules.const_accel import RULE as CONST_ACCEL
from vgen.judge.rules.count import RULE as COUNT
from vgen.judge.rules.drop_ratio import RULE as DROP_RATIO
from vgen.judge.rules.effect_before_cause import RULE as EFFECT_BEFORE_CAUSE
from vgen.judge.rules.energy import RULE as ENERGY
from vgen.judge.rules.event_order import RULE as EVENT_ORDER
from vgen.judge.rules.friction import RULE as FRICTION
from vgen.judge.rules.identity import RULE as IDENTITY
from vgen.judge.rules.irreversibility import RULE as IRREVERSIBILITY
from vgen.judge.rules.liquid_level import RULE as LIQUID_LEVEL
from vgen.judge.rules.midair_turn import RULE as MIDAIR_TURN
from vgen.judge.rules.mirror import RULE as MIRROR
from vgen.judge.rules.missing_effect import RULE as MISSING_EFFECT
from vgen.judge.rules.momentum import RULE as MOMENTUM
from vgen.judge.rules.motion_without_cause import RULE as MOTION_WITHOUT_CAUSE
from vgen.judge.rules.occlusion_order import RULE as OCCLUSION_ORDER
from vgen.judge.rules.path_behind_occluder import RULE as PATH_BEHIND_OCCLUDER
from vgen.judge.rules.pendulum import RULE as PENDULUM
from vgen.judge.rules.reappear import RULE as REAPPEAR
from vgen.judge.rules.restitution import RULE as RESTITUTION
from vgen.judge.rules.rigid import RULE as RIGID
from vgen.judge.rules.rigid_deform import RULE as RIGID_DEFORM
from vgen.judge.rules.shadow_follows import RULE as SHADOW_FOLLOWS
from vgen.judge.rules.size import RULE as SIZE
from vgen.judge.rules.solidity import RULE as SOLIDITY
from vgen.judge.rules.spawn import RULE as SPAWN
from vgen.judge.rules.speed_jerk import RULE as SPEED_JERK
from vgen.judge.rules.spin import RULE as SPIN
from vgen.judge.rules.support import RULE as SUPPORT
from vgen.judge.rules.teleport import RULE as TELEPORT
from vgen.judge.rules.vanish import RULE as VANISH

__all__ = ["RULES"]

# One import line and one entry per rule.
RULES: dict[str, Rule] = {
    "effect_before_cause": EFFECT_BEFORE_CAUSE,
    "motion_without_cause": MOTION_WITHOUT_CAUSE,
    "missing_effect": MISSING_EFFECT,
    "midair_turn": MIDAIR_TURN,
    "event_order": EVENT_ORDER,
    "irreversibility": IRREVERSIBILITY,
    "consequence_persists": CONSEQUENCE_PERSISTS,
    "const_accel": CONST_ACCEL,
    "common_gravity": COMMON_GRAVITY,
    "drop_ratio": DROP_RATIO,
    "support": SUPPORT,
    "restitution": RESTITUTION,
    "momentum": MOMENTUM,
    "energy": ENERGY,
    "friction": FRICTION,
    "pendulum": PENDULUM,
    "rigid": RIGID,
    "spin": SPIN,
    "vanish": VANISH,
    "spawn": SPAWN,
    "count": COUNT,
    "identity": IDENTITY,
    "size": SIZE,
    "colour": COLOUR,
    "reappear": REAPPEAR,
    "teleport": TELEPORT,
    "path_behind_occluder": PATH_BEHIND_OCCLUDER,
    "speed_jerk": SPEED_JERK,
    "solidity": SOLIDITY,
    "rigid_deform": RIGID_DEFORM,
    "liquid_level": LIQUID_LEVEL,
    "shadow_follows": SHADOW_FOLLOWS,
    "mirror": MIRROR,
    "occlusion_order": OCCLUSION_ORDER,
}
