"""One tiny folder of each layout, written once for all tests here."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stock.folders import stock_folder
from vgen.pipeline import VideoPipeline


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(layout: str) -> Path:
        if layout not in made:
            made[layout] = stock_folder(tmp_path_factory.mktemp("stock") / layout, layout)
        return made[layout]

    return folder


@pytest.fixture(scope="session")
def pipeline_of(folder_of: Callable[[str], Path]) -> Callable[[str], VideoPipeline]:
    made: dict[str, VideoPipeline] = {}

    def pipeline(layout: str) -> VideoPipeline:
        if layout not in made:
            made[layout] = VideoPipeline.from_pretrained(folder_of(layout), device="cpu")
        return made[layout]

    return pipeline
