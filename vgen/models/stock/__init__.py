"""Models that run through diffusers' own pipelines, with vgen's attention put into their transformers.

`catalogue.py` says which, `load.py` loads them; a new family is a file like `mochi.py` and a row
there. Nothing here knows jobs or runs.
"""
