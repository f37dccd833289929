"""What severity means, law by law: physical, linear, fixed before any rule was tuned; ships in the calibration card.

Severity runs from 0 (the possible twin) to 1. `at_half` is the size of the breach at severity .5 in `unit`; where
`whole_at` is .5, the breach is complete there and grows no further.
"""

from dataclasses import dataclass

__all__ = ["SEVERITY", "Severity"]


@dataclass(frozen=True, slots=True)
class Severity:
    """How strong a breach of one law is.

    Args:
        breach: what happens, in words.
        unit: of `at_half`.
        at_half: size at severity .5; the size at severity s is 2 s at_half.
        whole_at: severity from which on the breach is complete.
    """

    breach: str
    unit: str
    at_half: float
    whole_at: float = 1.0

    def size(self, severity: float) -> float:
        """Size of the breach in `unit`."""
        return 2 * self.at_half * min(severity, self.whole_at)


SEVERITY: dict[str, Severity] = {
    "effect_before_cause": Severity("a struck body leaves before the blow", "frames early", 4),
    "motion_without_cause": Severity("a resting body sets off with nothing near", "diameters per frame", 0.125),
    "missing_effect": Severity("a struck body takes up too little speed", "share of the speed missing", 1, 0.5),
    "midair_turn": Severity("a flying body turns, its speed kept", "change of velocity over speed", 0.5),
    "event_order": Severity("the last of a row leaves before the one before it", "frames early", 4),
    "irreversibility": Severity("pieces of a broken body go back and join", "share of the pieces", 0.5),
    "consequence_persists": Severity("paint that a body took up goes off it again", "Delta-E (1976)", 20),
    "const_accel": Severity("a free body's acceleration grows in mid-flight", "share of gravity", 0.5),
    "common_gravity": Severity("one of two flying bodies feels more gravity", "share of gravity", 0.5),
    "drop_ratio": Severity("one of the falling bodies falls with more gravity", "share of gravity", 0.5),
    "support": Severity("a body without support stays up or falls no faster", "frames", 8),
    "restitution": Severity("a body rebounds faster than it struck", "gain over the speed of impact", 0.5),
    "momentum": Severity("a struck body leaves aside, its speed kept", "change of velocity over speed", 0.5),
    "energy": Severity("a passive body speeds up along its way", "gain of kinetic energy", 0.5),
    "friction": Severity("a body on level ground speeds up by itself", "gain of speed", 0.5),
    "pendulum": Severity("a pendulum swings wider, or quicker", "gain of amplitude or of rate", 0.5),
    "rigid": Severity("a body changes its outline in flight, its area kept", "long over short axis, above 1", 0.5),
    "spin": Severity("a tumbling body's rate of turning changes in flight", "share of the rate", 0.5),
    "vanish": Severity("a body in full view is gone to the end", "share of the film", 0.3),
    "spawn": Severity("a body comes from nowhere and stays to the end", "share of the film", 0.3),
    "count": Severity("one body too many comes out from behind a slab", "its diameter over theirs", 1, 0.5),
    "identity": Severity("what comes out has another outline, and other paint", "Delta-E (1976)", 20),
    "size": Severity("a body grows within a third of a second or so", "gain of diameter", 0.5),
    "colour": Severity("a body in full view changes its paint", "Delta-E (1976)", 20),
    "reappear": Severity("a body comes out ahead of its time or late", "diameters along its way", 1),
    "teleport": Severity("a body jumps aside between two frames", "diameters", 1),
    "path_behind_occluder": Severity("a body comes out beside its path", "diameters across its way", 1),
    "speed_jerk": Severity("a body slows down at once with nothing near", "share of the speed", 0.5),
    "solidity": Severity("two bodies sink into each other before they part", "diameters of the smaller one", 0.5),
    "rigid_deform": Severity("a rigid body stays flattened by a blow", "long over short axis, above 1", 0.5),
    "liquid_level": Severity("a liquid's surface comes to lie aslant", "degrees", 15),
    "shadow_follows": Severity("a shadow falls behind its body", "frames late", 4),
    "mirror": Severity("a reflection falls behind its body", "frames late", 4),
    "occlusion_order": Severity("of two crossing bodies the front one falls behind", "overlap, diameters", 0.5),
}
