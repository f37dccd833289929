"""Keeps third-party noise off stderr, narrowly: known messages of known loggers."""

import logging

__all__ = ["quiet"]

# xformers built for another torch than the installed one says so in six lines each time diffusers is imported, though
# vgen asks for its kernels by name and says itself when they cannot run.
KNOWN = {"xformers": "can't load C++/CUDA extensions"}


class _Known(logging.Filter):
    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def filter(self, record: logging.LogRecord) -> bool:
        return self.message not in record.getMessage()


def quiet() -> None:
    """To be called before torch or diffusers are imported; a second call changes nothing."""
    for name, message in KNOWN.items():
        logging.getLogger(name).addFilter(_Known(message))
