"""Scenes that keep or break exactly one law, drawn in two worlds: what the judge is calibrated on, never trained on."""
