"""Families of pendulums: one that swings freely, and one of other form whose swings die down."""

import math

import numpy as np

from vgen.playground.scene import Dice
from vgen.playground.twins.film import Fixture, Form
from vgen.playground.twins.motion import pendulum
from vgen.playground.twins.paint import pick_paints
from vgen.playground.twins.staging import Staged, Wrong, actor

__all__ = ["swing"]


def swing(dice: Dice, wrong: Wrong, *, damped: bool) -> Staged:
    """A body on a rod swings; the breach makes it swing wider, from its lowest point on, or quicker, from its highest.

    Args:
        damped: whether each swing is a little narrower than the one before.
    """
    form: Form = "box" if damped else "ball"
    radius, rgb = dice.uniform(0.055, 0.07), pick_paints(dice, 1)[0]
    length, pivot = dice.uniform(0.42, 0.5), (dice.uniform(0.46, 0.54), dice.uniform(0.9, 0.95))
    amplitude, period, frames = dice.uniform(0.32, 0.4), dice.uniform(19, 23), 60
    rate = (2 * math.pi / period) ** 2
    damping = dice.uniform(0.004, 0.007) if damped else 0.0
    angle_F, speed_F = pendulum(-amplitude, 0.0, rate, damping, frames)
    wider, gain = wrong.dice.pick((True, False)), wrong.of("pendulum")
    if gain:
        # The frame nearest to the lowest or to the highest point, after a swing and a quarter or so.
        window = np.arange(round(period), round(1.5 * period))
        time = int(window[np.argmin(np.abs((angle_F if wider else speed_F)[window]))])
        angle, speed = float(angle_F[time]), float(speed_F[time])
        if wider:
            energy = speed**2 / 2 + rate * (1 - math.cos(angle))
            reached = math.acos(1 - energy / rate) * (1 + gain)
            speed = math.copysign(math.sqrt(2 * rate * (math.cos(angle) - math.cos(reached))), speed)
        else:
            rate *= (1 + gain) ** 2
        later_F, _ = pendulum(angle, speed, rate, damping, frames - time)
        angle_F = np.concatenate([angle_F[:time], later_F])
    xy_F2 = np.stack([pivot[0] + length * np.sin(angle_F), pivot[1] - length * np.cos(angle_F)], axis=1)
    rods_F22 = np.stack([np.broadcast_to(pivot, xy_F2.shape), xy_F2], axis=1)
    return Staged(
        actors=(actor(form, xy_F2, radius, rgb, angle_F=angle_F),),
        fixtures=(Fixture(kind="rod", corners_P2=rods_F22),),
        lasts=None,
        symmetric=not damped,
    )
