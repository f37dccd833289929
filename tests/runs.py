"""Runs of models of Wan's kind, told apart from those of diffusers' pipelines for the type checker."""

from vgen.run import Run

__all__ = ["own_run"]


def own_run(run: object) -> Run:
    """The same, as what it has to be."""
    assert isinstance(run, Run)
    return run
