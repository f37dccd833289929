"""How many processes share what: `Degrees`, chosen by rule or refused. No process asks another for it.

Several clips are shared out first, since that costs nothing; then the branches of guidance, which send one latent per
step; the rest splits tokens and heads (Ulysses: Jacobs et al. 2023, arXiv:2309.14509), which sends four tensors per
layer. What is said holds, and is refused where it does not fit.
"""

import math
from dataclasses import dataclass, replace

from vgen.errors import ConfigError
from vgen.schema import ParallelConfig

__all__ = ["ALONE", "AXES", "Degrees", "Work", "choose_degrees"]

AXES = ("dp", "cfg", "clips", "ulysses")
LOOKED_AT = 16  # numbers of processes that are looked at for one that fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Degrees:
    """Processes along each axis.

    Args:
        dp: replicas, each with clips of its own.
        cfg: 2 where the branches of guidance run side by side.
        clips: parts of one clip's frames.
        ulysses: parts of the tokens of every frame, and of the heads.
        fsdp: whether a replica's weights are spread over its processes.
    """

    dp: int = 1
    cfg: int = 1
    clips: int = 1
    ulysses: int = 1
    fsdp: bool = False

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """By `AXES`."""
        return self.dp, self.cfg, self.clips, self.ulysses

    @property
    def processes(self) -> int:
        """All of them."""
        return math.prod(self.sizes)

    @property
    def replica(self) -> int:
        """Processes that make one clip together."""
        return self.processes // self.dp

    def __str__(self) -> str:
        shared = [f"{axis} {size}" for axis, size in zip(AXES, self.sizes, strict=True) if size > 1]
        return ", ".join([*shared, *(["fsdp"] if self.fsdp else [])]) or "one process"


ALONE = Degrees()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What of a request bears on how it can be shared.

    Args:
        heads, tokens_per_frame: of the transformer's self-attention, and of a latent frame.
        guided: whether there are two branches.
        prompts: of a clip.
        clips: that are asked for.
        one_device: why a clip is made by one process alone; None where it need not be.
        one_sequence: why tokens and heads cannot be split; None where they can.
        uncut, one_branch: why frames and branches of guidance cannot be, and what is possible; None where they can.
        apart: why the branches of guidance do not run the same blocks in each step; None where they do.
    """

    heads: int
    tokens_per_frame: int
    guided: bool
    prompts: int = 1
    clips: int = 1
    one_device: str | None = None
    one_sequence: str | None = None
    uncut: str | None = None
    one_branch: str | None = None
    apart: str | None = None


def choose_degrees(config: ParallelConfig, processes: int, work: Work) -> Degrees:
    """The degrees of a run.

    Args:
        config: what was said.
        processes: that there are.
        work: what they share.

    Raises:
        ConfigError: what was said does not fit, or so many processes find nothing to share.
    """
    said = {axis: size for axis in AXES if (size := getattr(config, axis)) is not None}
    if config.fsdp:
        work, said = _in_step(said, processes, work), {"dp": 1} | said
    for axis, size in said.items():
        problem = _problem(axis, size, work)
        if problem is not None:
            raise ConfigError(f"parallel.{axis}={size}: {problem}")
    if processes % math.prod(said.values()) or (len(said) == len(AXES) and math.prod(said.values()) != processes):
        asked = " x ".join(f"{axis} {size}" for axis, size in said.items())
        raise ConfigError(
            f"parallel: {asked} does not make {processes} process{'es' if processes > 1 else ''}; start as many as the "
            "product with --nproc, or leave a size out"
        )
    found = _first_fitting(said, processes, work)
    if found is None:
        raise ConfigError(_nothing_fits(said, processes, work, least=2 if config.fsdp else 1))
    return Degrees(**found, fsdp=bool(config.fsdp))


def _in_step(said: dict[str, int], processes: int, work: Work) -> Work:
    """What processes can share that run every block together, because each has a part of its weights.

    Raises:
        ConfigError: there is one process, or replicas are asked for, which go their own ways.
    """
    if processes == 1:
        raise ConfigError("parallel.fsdp spreads weights over processes, and there is one; start more with --nproc")
    if said.get("dp", 1) > 1:
        raise ConfigError(f"parallel.dp={said['dp']}: with parallel.fsdp all processes make one clip; possible: 1")
    why = f"both branches read as many prompts, and here {work.prompts} and one" if work.prompts > 1 else None
    if work.apart is not None:
        why = f"both branches run the same blocks in each step, and {work.apart}"
    return replace(work, one_branch=why and f"with parallel.fsdp {why}; possible: 1")


def _first_fitting(said: dict[str, int], processes: int, work: Work) -> dict[str, int] | None:
    """The first sizes in the order of the rule that multiply to all processes."""
    clips = said.get("clips", 1)
    for dp in [said["dp"]] if "dp" in said else range(min(processes, work.clips), 0, -1):
        for cfg in [said["cfg"]] if "cfg" in said else (2, 1):
            ulysses, left = divmod(processes, dp * cfg * clips)
            sizes = {"dp": dp, "cfg": cfg, "clips": clips, "ulysses": ulysses}
            if left or ulysses != said.get("ulysses", ulysses):
                continue
            if all(_problem(axis, size, work) is None for axis, size in sizes.items()):
                return sizes
    return None


def _problem(axis: str, size: int, work: Work) -> str | None:
    """What is wrong with a size by itself, and what is possible."""
    if size == 1:
        return None
    if axis == "dp":
        few = f"{work.clips} clip{'s are' if work.clips > 1 else ' is'} asked for; possible: 1 to {work.clips}"
        return few if size > work.clips else None
    if work.one_device is not None:
        return f"{work.one_device}; possible: 1"
    if axis == "cfg":
        unguided = "there is no guidance to share; possible: 1, or a guidance_scale above 1"
        return work.one_branch if work.guided else unguided
    if axis == "clips":
        return work.uncut
    return _split_problem(size, work)


def _split_problem(size: int, work: Work) -> str | None:
    if work.one_sequence is not None:
        return f"{work.one_sequence}; possible: 1"
    able = ", ".join(str(n) for n in range(1, work.heads + 1) if not (work.heads % n or work.tokens_per_frame % n))
    for count, what in ((work.heads, "heads"), (work.tokens_per_frame, "tokens of a frame")):
        if count % size:
            return f"{count} {what} are no multiple of it; possible: {able}"
    return None


def _nothing_fits(said: dict[str, int], processes: int, work: Work, least: int) -> str:
    able = [str(n) for n in range(least, max(processes, LOOKED_AT) + 1) if _fits(said, n, work)]
    why = work.one_device or work.one_sequence or f"{work.heads} heads, {work.tokens_per_frame} tokens of a frame"
    branches = "guided" if work.guided else "without guidance"
    possible = f"--nproc {', '.join(able)}" if able else "one process, without parallel.fsdp"
    return (
        f"{processes} processes cannot share {work.clips} clip{'s' if work.clips > 1 else ''} ({why}, {branches}); "
        f"possible: {possible}"
    )


def _fits(said: dict[str, int], processes: int, work: Work) -> bool:
    return processes % math.prod(said.values()) == 0 and _first_fitting(said, processes, work) is not None
