"""From pixels to an `Observation`: what moved, where, when, and what happened; no rule is known here.

observe.py     puts all of it together, the only entry
view.py        the clip at working size, steadied, in Lab
cuts.py        where a new shot starts
camera.py      how the camera moved
background.py  the picture without its things
segment.py     what differs from it, per frame: blobs of bodies and of shadows
track.py       blobs of one thing, frame after frame
faint.py       shadows too faint for any one pixel to tell, followed on
sift.py        which trails are things, and which shadows
link.py        one thing before and behind what hides it; why a thing does not show
still.py       things that never move, and are touched
refine.py      centre, outline, orientation, colour of each thing
motion.py      pieces of constant acceleration, and the moments between them
surface.py     free space down to the next still surface
gaps.py        free space between two things, and which lies in front
liquid.py      surfaces of liquids in open vessels
parting.py     things that come out of one another, or go into one
events.py      what happened when
flow.py        motion of every pixel, as a check and a fallback
order.py       whether frames follow each other
cache.py       observations by content
"""
