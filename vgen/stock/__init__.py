"""Runs of models that go through a pipeline of diffusers: what may be asked of them, what that becomes, how it goes.

The models themselves are in `vgen/models/stock/`.
"""
