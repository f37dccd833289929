"""Tests of vgen.video."""
