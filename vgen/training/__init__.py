"""Recipes that make the embedded model: autoencoder, cached latents, text encoder with video transformer.

Read `config.py` (what is trained), `loop.py` (what all stages share), then `vae.py`, `latents.py`, `dit.py` in the
order of the stages, and `folder.py` (what is written). `playground.py` runs them for `vgen train playground`.
"""
