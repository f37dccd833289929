"""Vocabularies of tokenizers, as far as reading them takes packages that most folders do without."""

from importlib.util import find_spec
from pathlib import Path

from vgen.errors import ResourceError

__all__ = ["check_vocabulary"]

SENTENCEPIECE = ("spiece.model", "tokenizer.model")
PACKAGES = ("sentencepiece", "google", "google.protobuf")  # a parent before what is in it


def check_vocabulary(where: Path) -> None:
    """Refuses a tokenizer whose vocabulary is sentencepiece's alone where that package is missing.

    Raises:
        ResourceError: names the packages.
    """
    found = [name for name in SENTENCEPIECE if (where / name).is_file()]
    if not found or (where / "tokenizer.json").is_file() or all(find_spec(name) is not None for name in PACKAGES):
        return
    raise ResourceError(
        f"{where}: holds {found[0]} and no tokenizer.json, which takes the packages sentencepiece and protobuf; "
        "install them with: pip install 'vgen[sentencepiece]'"
    )
