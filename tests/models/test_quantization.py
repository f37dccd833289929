"""Transformers in fewer bits: what torchao makes of the weights, against rounding by hand; and what is refused."""

import importlib.metadata
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.folders import tiny_folder
from tests.models.tiny import latents, words
from vgen.errors import ConfigError, ModelError, ResourceError
from vgen.models.components import weigh
from vgen.models.load import load_model
from vgen.models.loaded import LoadedModel, own_model
from vgen.models.quantization import SCHEMES, Quantization, stored_bytes
from vgen.pipeline import VideoPipeline
from vgen.schema import QUANTIZATIONS

CPU, MIB = torch.device("cpu"), 1 << 20
needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="torchao is not installed: pip install 'vgen[quant]'"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("quantised") / "model", layout="playground")


@pytest.fixture(scope="module")
def plain(folder: Path) -> LoadedModel:
    return own_model(load_model(str(folder), device=CPU, dtype=torch.float32))


def quantised(folder: Path, scheme: str, dtype: torch.dtype = torch.float32) -> LoadedModel:
    return own_model(load_model(str(folder), device=CPU, dtype=dtype, quantization=Quantization(scheme=scheme)))


def steps_of(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale of each row and the weights in steps of it, in fp64: int8 symmetric about 0, 255 steps from -max to max."""
    weight = weight.double()
    scale = weight.abs().amax(1, keepdim=True) / 127.5
    return scale, weight / scale


def test_every_scheme_can_be_named() -> None:
    assert tuple(sorted(SCHEMES)) == QUANTIZATIONS


@needs_torchao
def test_int8_weights_equal_rounding_by_hand(folder: Path, plain: LoadedModel) -> None:
    own = dict(plain.dit.named_modules())
    layers = [(n, m) for n, m in quantised(folder, "int8wo").dit.named_modules() if isinstance(m, nn.Linear)]
    changed = [(name, layer) for name, layer in layers if "time_embedder" not in name]
    assert len(changed) == 24 and len(layers) == 26
    for name, layer in changed:
        scale, steps = steps_of(own[name].weight)
        got = layer.weight.dequantize().double() / scale
        assert (got - got.round()).abs().max() < 1e-4, name  # a scale in fp32
        # the nearest step; of a tie, as -max is one by definition, either
        assert (got - steps.clamp(-128, 127)).abs().max() < 0.5 + 1e-4, name
    for name, layer in layers[:2]:
        assert "time_embedder" in name and torch.equal(layer.weight, own[name].weight)


@needs_torchao
def test_a_pass_equals_one_with_the_rounded_weights(folder: Path, plain: LoadedModel) -> None:
    model, floats = quantised(folder, "int8wo").dit, load_model(str(folder), device=CPU, dtype=torch.float32).dit
    with torch.no_grad():
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Linear) and "time_embedder" not in name:
                floats.get_submodule(name).weight.copy_(layer.weight.dequantize())
        ours, theirs, unrounded = (
            dit(latents(3), torch.full((1, 1), 0.6), words()) for dit in (model, floats, plain.dit)
        )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert 1e-4 < (ours - unrounded).norm() / unrounded.norm() < 0.02


@needs_torchao
@pytest.mark.parametrize("scheme", ["int8wo", "int8dq", "fp8wo"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_is_foretold(folder: Path, scheme: str, dtype: torch.dtype) -> None:
    kept = Quantization(scheme=scheme)
    model = quantised(folder, scheme, dtype)
    parts = (model.dit, model.vae, model.prompts.encoder)
    held = sum(stored_bytes(weight) for part in parts for weight in part.parameters())
    foretold = weigh(str(folder), device=CPU, dtype=dtype, quantization=kept)[1] * MIB
    # a zero point of a byte stands in each int8 row too
    assert held <= foretold * 1.01 and foretold <= held * 1.01
    assert foretold < weigh(str(folder), device=CPU, dtype=dtype)[1] * MIB


@needs_torchao
def test_a_clip_and_its_record(folder: Path) -> None:
    clip = VideoPipeline.from_pretrained(folder, device="cpu", quantization="int8wo")("a red ball rolls", seed=1)
    plain = VideoPipeline.from_pretrained(folder, device="cpu")("a red ball rolls", seed=1)
    assert clip.record["resolved"]["model.quantization"] == clip.record["model"]["quantization"] == "int8wo"
    assert "torchao" in clip.record["versions"] and "torchao" not in plain.record["versions"]
    assert "model.quantization" not in plain.record["resolved"] and plain.record["model"]["quantization"] is None


@needs_torchao
def test_what_the_device_cannot_do_is_refused(folder: Path) -> None:
    with pytest.raises(
        ResourceError, match=r"fp8dq needs a CUDA device of capability 8\.9, this is device cpu; possible: fp8wo"
    ):
        quantised(folder, "fp8dq")


def test_a_missing_extra_says_how_to_install_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vgen.models.quantization.version", _missing)
    with pytest.raises(
        ResourceError, match=r"int8wo needs torchao, which is not installed: pip install 'vgen\[quant\]'"
    ):
        quantised(folder, "int8wo")
    with pytest.raises(ResourceError, match="gguf needs gguf, which is not installed"):
        load_model(str(folder), device=CPU, dtype=torch.float32, quantization=Quantization.of(None, ["a.gguf"]))


def _missing(package: str) -> str:
    raise importlib.metadata.PackageNotFoundError(package)


def test_contradictions_are_refused() -> None:
    with pytest.raises(ConfigError, match="on top of GGUF files"):
        Quantization.of("int8wo", ["a.gguf"])
    with pytest.raises(ConfigError, match=r"a LoRA on weights that are quantised \(int8wo\) is not supported; fuse it"):
        Quantization(scheme="int8wo").refuse_with("a LoRA", "fuse it first")
    assert Quantization.of(None, None) is None


def test_folders_that_are_quantised_themselves_stay_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    path = copy / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": {"quant_method": "torchao"}}))
    with pytest.raises(ModelError, match="quantization_config"):
        load_model(str(copy), device=CPU, dtype=torch.float32)
