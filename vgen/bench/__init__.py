"""Measured figures: `accept` holds them against the bars in bars.yaml, the other modules take one measurement each.

A module here prints one JSON object on stdout, names its command and machine in it, and exits 0 whatever it measured:
judging is `accept`'s. A new bar is a row of bars.yaml; a new measurement is a module beside this one.
"""
