"""Tests of vgen.bench."""
