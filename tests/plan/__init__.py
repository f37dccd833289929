"""Tests of `vgen.plan`."""
