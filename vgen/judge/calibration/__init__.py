"""How far the judge can be trusted: clips whose truth is known, what the rules say of them, and the card that tells.

suite     which clips a run consists of
run       draw, perceive, measure; over processes, and again from where it stopped
digest    which code measured
outcomes  what the rules said of every clip, as one table
metrics   the statistics, which know no clips
fit       strength -> violation, from the calibration split alone
figures   which clips go into which figure
attacks   edits that must lower the plausibility, and edits that must not
card      the calibration card
html      the same to look at
"""
