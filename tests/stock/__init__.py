"""Tests of models that run through diffusers' own pipelines."""
