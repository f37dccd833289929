"""Checkpoints as their authors publish them, into folders in diffusers format.

names.py    the tensors' names in Wan's own code, and in diffusers
states.py   reading a file: state dicts, whatever they are nested in; the one place that opens a pickle
fit.py      whether the tensors are those of the base model
methods.py  what a model is right with by the method that it was distilled by; a new method is a row of METHODS
folder.py   the whole: read, held against the folder of the base model, written beside it
"""
