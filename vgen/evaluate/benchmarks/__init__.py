"""The benchmarks, by name. A new one is a file here and a line in `BENCHMARKS`.

Each is imported when it is asked for, since some load a model library or the judge.
"""

from collections.abc import Iterator, MutableMapping
from importlib import import_module

from vgen.evaluate.benchmark import Benchmark

__all__ = ["BENCHMARKS"]


class _Registry(MutableMapping[str, Benchmark]):
    """Benchmarks by name, which are there or in a constant of a module here, `module:CONSTANT`."""

    def __init__(self, places: dict[str, str | Benchmark]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> Benchmark:
        place = self._places[name]
        if isinstance(place, str):
            module, _, constant = place.partition(":")
            place = getattr(import_module(f"{__name__}.{module}"), constant)
            assert isinstance(place, Benchmark) and place.name == name, place
            self._places[name] = place
        return place

    def __setitem__(self, name: str, benchmark: Benchmark) -> None:
        self._places[name] = benchmark

    def __delitem__(self, name: str) -> None:
        del self._places[name]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


BENCHMARKS = _Registry(
    {
        "playground": "playground:PLAYGROUND",
        "playground-first": "playground:PLAYGROUND_FIRST",
        "physics-iq": "physics_iq:PHYSICS_IQ",
        "physics-iq-verified": "physics_iq:PHYSICS_IQ_VERIFIED",
        "pisa": "pisa:PISA",
        "phyworld": "phyworld:PHYWORLD",
        "ruler-bench": "ruler_bench:RULER_BENCH",
        "mme-cof": "mme_cof:MME_COF",
        "videophy2": "videophy2:VIDEOPHY2",
        "phygenbench": "phygenbench:PHYGENBENCH",
        "tc-bench-t2v": "tc_bench:TC_BENCH_T2V",
        "tc-bench-i2v": "tc_bench:TC_BENCH_I2V",
        "implausibench": "implausibench:IMPLAUSIBENCH",
        "implausibench-mcq": "implausibench.mcq:IMPLAUSIBENCH_MCQ",
        "intphys2": "intphys2:INTPHYS2",
        "intphys2-debug": "intphys2:INTPHYS2_DEBUG",
        "likephys": "likephys:LIKEPHYS",
        "videophy2-labels": "videophy2.labels:VIDEOPHY2_LABELS",
    }
)
