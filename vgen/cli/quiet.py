"""Keeps third-party noise off stderr, narrowly: known messages of known loggers."""

import logging

__all__ = ["quiet"]

# xformers built for another torch than the installed one says so in six lines each time diffusers is imported, though
# vgen asks for its kernels by name and says itself when they cannot run.
# torchao says on import what it has no kernels for and what torch has deprecated in it; diffusers, that it cannot find
# classes which torchao has dropped, and that integers need bfloat16, which they once did.
KNOWN = {
    "xformers": ("can't load C++/CUDA extensions",),
    "torchao": ("Failed to load",),
    "torch.utils._pytree": ("is an Enum subclass",),
    "diffusers.quantizers.torchao.torchao_quantizer": (
        "Unable to import `torchao` Tensor objects",
        "for integer quantization, but only bfloat16 is supported",
    ),
}


class _Known(logging.Filter):
    def __init__(self, messages: tuple[str, ...]) -> None:
        super().__init__()
        self.messages = messages

    def filter(self, record: logging.LogRecord) -> bool:
        return not any(message in record.getMessage() for message in self.messages)


def quiet() -> None:
    """To be called before torch or diffusers are imported; a second call changes nothing."""
    for name, messages in KNOWN.items():
        logging.getLogger(name).addFilter(_Known(messages))
