"""Level tables of published methods, written out from the definitions in their papers, and the schedules that are they.

In the tables a row says the level of every frame, S for those that have not begun; rows are S - 0 steps, 1 step, ...
"""

import itertools
import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgen.samplers import Capped, FrameSchedule, Lift, Pyramid, Queue, Repeated, SinkWindow, Step, Trapezoid

Rows = list[list[int]]
lags = st.integers(1, 8).flatmap(lambda steps: st.tuples(st.just(steps), st.integers(0, steps)))


def rows(schedule: FrameSchedule, frames: int) -> Rows:
    """The levels of all frames before the first step, and after each."""
    table = [[schedule.num_steps] * frames]
    for step in schedule.steps(frames):
        assert isinstance(step, Step)
        row = list(table[-1])
        for frame, level in zip(step.frames, step.level_to, strict=True):
            row[frame] = level
        table.append(row)
    return table


def shown(schedule: FrameSchedule, policy: SinkWindow | None, frames: int) -> list[list[int]]:
    """The frames that each step shows, those that it shows again included."""
    return [
        [*(policy.visible(step.frames.start, step.frames.stop) if policy else ()), *step.frames]
        for step in schedule.steps(frames)
    ]


# --- Diffusion Forcing, Chen et al. 2024, arXiv:2407.01392 -----------------------------------------------------------


def clipped(frame_lag: list[int], steps: int, height: int) -> Rows:
    """Entry (m, t) is S + (lag of t) - m, clipped to 0..S."""
    return [[min(max(steps + lag - m, 0), steps) for lag in frame_lag] for m in range(height)]


@given(lags, st.integers(1, 9))
def test_p15_diffusion_forcing_pyramid(steps_and_lag: tuple[int, int], frames: int) -> None:
    steps, lag = steps_and_lag
    published = clipped([t * lag for t in range(frames)], steps, steps + (frames - 1) * lag + 1)
    assert rows(Pyramid(num_steps=steps, lag=lag), frames) == published


@given(st.integers(1, 8), st.integers(1, 9))
def test_p14_p15_full_sequence_is_lag_0_and_autoregressive_is_lag_s(steps: int, frames: int) -> None:
    together = [[level] * frames for level in range(steps, -1, -1)]
    assert rows(Pyramid(num_steps=steps, lag=0), frames) == together
    assert rows(Pyramid(num_steps=steps, lag=0, block=frames), frames) == together
    in_turn = [[steps] * frames]
    for frame, level in itertools.product(range(frames), range(steps - 1, -1, -1)):
        in_turn.append([0] * frame + [level] + [steps] * (frames - frame - 1))
    assert rows(Pyramid(num_steps=steps, lag=steps), frames) == in_turn
    with pytest.raises(AssertionError, match="0 <= lag <= num_steps"):
        Pyramid(num_steps=steps, lag=steps + 1)


@given(lags, st.integers(1, 9))
def test_p15_diffusion_forcing_trapezoid(steps_and_lag: tuple[int, int], frames: int) -> None:
    """Lag grows from both ends to the middle, the same on both sides."""
    steps, lag = steps_and_lag
    table = rows(Trapezoid(num_steps=steps, lag=lag), frames)
    published = clipped([min(t, frames - 1 - t) * lag for t in range(frames)], steps, len(table))
    assert table == published
    assert set(table[-1]) == {0} and (len(table) == 1 or set(table[-2]) != {0})
    assert all(row == row[::-1] for row in table)


def test_the_trapezoid_that_was_released_is_another() -> None:
    """It counts from the end with -t: column 0 is written twice, and the last frame gets the lag of its neighbour."""
    steps, lag, frames = 4, 2, 6
    table = rows(Trapezoid(num_steps=steps, lag=lag), frames)
    released = [[0] * frames for _ in table]
    for m, t in itertools.product(range(len(table)), range((frames + 1) // 2)):
        released[m][t] = released[m][-t] = min(max(steps + t * lag - m, 0), steps)
    assert [row[0] for row in released] == [row[0] for row in table]
    assert [row[-1] for row in released] == [row[1] for row in table] != [row[-1] for row in table]


# --- AR-Diffusion, Sun et al. 2025, arXiv:2503.07418, and SkyReels-V2, arXiv:2504.13074 ------------------------------


def asynchronous(frames: int, steps: int, lag: int, window: int) -> tuple[Rows, list[list[int]]]:
    """The AD scheduler step by step: the levels, and the window of each step.

    A frame is due once the one before it is `lag` updates ahead of it, or done. The window of `window` frames moves on
    by one at the first update of the frame behind it.
    """
    done = [0] * frames
    table, windows = [[steps] * frames], []
    end = min(window, frames)
    while min(done) < steps:
        due = [
            done[f] < steps and (f == 0 or done[f - 1] == steps or done[f - 1] - done[f] >= lag) for f in range(frames)
        ]
        while end < frames and due[end]:
            end += 1
        windows.append(list(range(max(0, end - window), end)))
        done = [count + moves for count, moves in zip(done, due, strict=True)]
        table.append([steps - count for count in done])
    return table, windows


@given(lags, st.integers(1, 12), st.integers(0, 4))
def test_p14_ar_diffusion(steps_and_lag: tuple[int, int], frames: int, more: int) -> None:
    """The closed form is the iterative definition, and the window shows the same frames, waiting and finished ones."""
    steps, lag = steps_and_lag
    window = (math.ceil(steps / lag) if lag else frames) + more  # holds every frame that is under way
    table, windows = asynchronous(frames, steps, lag, window)
    schedule = Pyramid(num_steps=steps, lag=lag, ahead=window)
    assert rows(schedule, frames) == table
    assert shown(schedule, SinkWindow(window=window, memory="refeed"), frames) == windows


def skyreels(blocks: int, steps: int, lag: int) -> Rows:
    """Counters of the blocks, row by row: one more than before behind a block that is done, else `lag` behind it."""
    counts = [0] * blocks
    table = [[steps] * blocks]
    while min(counts) < steps:
        before = list(counts)
        for i in range(blocks):
            leads = i == 0 or before[i - 1] == steps
            counts[i] = min(max(before[i] + 1 if leads else counts[i - 1] - lag, 0), steps)
        table.append([steps - count for count in counts])
    return table


@given(st.integers(2, 40), st.integers(1, 6))
def test_p15_skyreels_asynchronous(steps: int, blocks: int) -> None:
    lag, block = min(5, steps), 5
    repeated = [[level for level in row for _ in range(block)] for row in skyreels(blocks, steps, lag)]
    assert rows(Pyramid(num_steps=steps, lag=lag, block=block), blocks * block) == repeated


@given(st.integers(1, 6), st.integers(1, 40))
def test_p37_all_frames_of_a_ragged_length_are_made_once_it_is_rounded_up(block: int, frames: int) -> None:
    """SkyReels-V2 in diffusers has F // block blocks, so F % block frames at the end stay noise."""
    whole = -(-frames // block) * block
    finished = [f for step in Pyramid(num_steps=3, lag=2, block=block).steps(whole) for f in step.commit]
    dropped = set(range(frames)) - set(range(frames // block * block))
    assert set(finished) >= set(range(frames)) and dropped <= set(finished)


@pytest.mark.parametrize("lag", [0, 2])
def test_clips_with_an_overlap(lag: int) -> None:
    """Long SkyReels-V2, Phenaki: each clip of B frames begins with the last O of the one before, clean, then B - O new.

    The first has nothing to begin with.
    """
    base, overlap, steps, clips = 7, 3, 4, 3
    new = base - overlap
    schedule = Pyramid(num_steps=steps, lag=lag, clip=new, ahead=new)
    policy = SinkWindow(window=base, memory="refeed")
    inside = rows(Pyramid(num_steps=steps, lag=lag), new)
    assert len(rows(schedule, clips * new)) == 1 + clips * (len(inside) - 1)
    for k, (step, frames) in enumerate(
        zip(schedule.steps(clips * new), shown(schedule, policy, clips * new), strict=True)
    ):
        clip, within = divmod(k, len(inside) - 1)
        assert frames == list(range(max(0, clip * new - overlap), (clip + 1) * new))
        levels = [0] * (len(frames) - len(step.frames)) + list(step.level_from)
        assert levels == [0] * (overlap if clip else 0) + inside[within]


# --- CausVid, arXiv:2412.07772; Self-Forcing, arXiv:2506.08009; Rolling Forcing, arXiv:2509.25161; MAGI-1 ------------


@pytest.mark.parametrize(("steps", "blocks"), [(4, 7), (3, 2), (1, 3)])
def test_p15_self_forcing(steps: int, blocks: int) -> None:
    """Blocks of 3, one after the other: each falls alone, then is written to the cache."""
    published = [
        (list(range(3 * i, 3 * i + 3)), [level] * 3, [level - 1] * 3, level == 1)
        for i in range(blocks)
        for level in range(steps, 0, -1)
    ]
    ours = [
        (list(s.frames), list(s.level_from), list(s.level_to), s.commit == s.frames)
        for s in Pyramid(num_steps=steps, lag=steps, block=3).steps(3 * blocks)
    ]
    assert ours == published


@pytest.mark.parametrize("blocks", [1, 3, 5, 9])
def test_p15_rolling_forcing(blocks: int) -> None:
    """Window t holds the blocks t - 4 .. t that there are, each a level above the one before; the last one is noise."""
    steps, block = 5, 3
    ours = list(Pyramid(num_steps=steps, lag=1, block=block).steps(blocks * block))
    assert len(ours) == blocks + 4
    for t, step in enumerate(ours):
        window = [b for b in range(t - 4, t + 1) if 0 <= b < blocks]
        assert list(step.frames) == [f for b in window for f in range(b * block, (b + 1) * block)]
        assert list(step.level_from) == [level for b in window for level in [steps - (t - b)] * block]
        assert list(step.level_to) == [level - 1 for level in step.level_from]
        front = t - 4
        assert list(step.commit) == (list(range(front * block, (front + 1) * block)) if front >= 0 else [])


@pytest.mark.parametrize("blocks", [1, 4, 7])
def test_p15_magi(blocks: int) -> None:
    """Chunks of 6 latents, at most 4 in flight: one enters every S / 4 steps and leaves clean."""
    steps, most = 16, 4
    waiting, flying = list(range(blocks)), dict[int, int]()
    ours = Pyramid(num_steps=steps, lag=steps // most, block=6).steps(6 * blocks)
    for k in itertools.count():
        if k % (steps // most) == 0 and waiting:
            flying[waiting.pop(0)] = steps
        if not flying:
            break
        step = next(ours)
        assert list(step.frames) == list(range(6 * min(flying), 6 * max(flying) + 6)) and len(flying) <= most
        assert list(step.level_from) == [level for level in flying.values() for _ in range(6)]
        flying = {block: level - 1 for block, level in flying.items() if level > 1}
    assert next(ours, None) is None


# --- FIFO-Diffusion, Kim et al. 2024, arXiv:2405.11473 ---------------------------------------------------------------

Part = tuple[list[int], list[int], list[int]]


def fifo(count: int, window: int, partitions: int, lookahead: bool) -> Iterator[list[Part]]:
    """The rounds of FIFO-Diffusion: (frames, levels, levels after) of each part of the queue, noisiest part first.

    Frames are named by when they leave, the first one that is kept is 0. With lookahead half a window of frames that
    have left stands in front of the queue, and of windows that overlap by half only the last half is kept.
    """
    length = window * partitions
    in_front = window // 2 if lookahead else 0
    queue = [window - length - in_front + i for i in range(in_front + length)]
    levels = [0] * in_front + list(range(1, length + 1))
    stride = window // 2 if lookahead else window
    for _ in range(count + length - window):
        parts = []
        for start in reversed(range(0, len(queue) - window + 1, stride)):
            part = slice(start, start + window)
            kept = [in_front <= at and at >= start + window - stride for at in range(start, start + window)]
            after = [level - keeps for level, keeps in zip(levels[part], kept, strict=True)]
            parts.append((queue[part], levels[part], after))
        yield parts
        queue = [*queue[1:], queue[-1] + 1]


def within(parts: list[Part], count: int) -> list[Part]:
    """Without frames behind the end of the clip, and without parts that then do nothing."""
    cut = []
    for frames, before, after in parts:
        size = len([f for f in frames if f < count])
        if before[:size] != after[:size]:
            cut.append((frames[:size], before[:size], after[:size]))
    return cut


@pytest.mark.parametrize("lookahead", [False, True])
@pytest.mark.parametrize(("count", "window", "partitions"), [(9, 4, 2), (30, 4, 4), (4, 4, 3), (8, 2, 1)])
def test_p15_fifo(count: int, window: int, partitions: int, lookahead: bool) -> None:
    length = window * partitions
    moves = list(Queue(num_steps=length, window=window, lookahead=lookahead).steps(count))
    clip, lift, rounds = moves[:length], moves[length], moves[length + 1 :]

    for k, step in enumerate(clip):  # an ordinary clip first
        assert isinstance(step, Step) and not step.commit
        assert step.frames == range(window) and set(step.level_from) == {length - k} == {v + 1 for v in step.level_to}
    assert isinstance(lift, Lift)  # then queue[i] = q_sample(clip[max(0, i - (S - f))], level i + 1)
    queue = [(max(0, i - (length - window)), i + 1) for i in range(length)]
    assert list(zip(lift.sources, lift.levels, strict=True))[-length:] == queue
    assert set(zip(lift.sources, lift.levels, strict=True)) - set(queue) == ({(0, 0)} if lookahead else set())

    published = [within(parts, count) for parts in fifo(count, window, partitions, lookahead)]
    ours = iter(rounds)
    for number, parts in enumerate(published):
        steps = list(itertools.islice(ours, len(parts)))
        assert all(isinstance(step, Step) for step in steps)
        assert [(list(s.frames), list(s.level_from), list(s.level_to)) for s in steps if isinstance(s, Step)] == parts
        emitted = [f for s in steps if isinstance(s, Step) for f in s.commit]
        assert emitted == [number - (length - window)], "one leaves in every round, the first of them are not kept"
    assert next(ours, None) is None and len(published) == count + length - window


# --- TIC-FT, Kim et al. 2025, arXiv:2506.00996, and FreeInit, Wu et al. 2023, arXiv:2312.07537 -----------------------


@given(st.integers(1, 8), st.lists(st.integers(0, 8), max_size=4), st.integers(1, 3), st.integers(0, 5))
def test_p15_temporal_in_context(steps: int, ramp: list[int], known: int, targets: int) -> None:
    """The common level falls from S to 0; frame f stands at min(level, cap_f), and is told the common one."""
    ramp = [min(cap, steps) for cap in ramp]
    caps = [0] * known + ramp + [steps] * targets
    moves = list(Capped(num_steps=steps, caps=tuple(ramp)).steps(len(caps), known=known))
    lifts = [move for move in moves if isinstance(move, Lift)]
    assert [(list(m.frames), list(m.levels), set(m.sources)) for m in lifts] == (
        [(list(range(known, known + len(ramp))), ramp, {known - 1})] if ramp else []
    )
    for k, step in enumerate(moves[len(lifts) :]):
        assert isinstance(step, Step)
        level = steps - k
        assert list(step.level_from) == [min(level, cap) for cap in caps]
        assert list(step.level_to) == [min(level - 1, cap) for cap in caps]
        assert step.told == (level,) * len(caps)


@given(st.integers(1, 8), st.integers(1, 6))
def test_p26_a_ramp_at_full_noise_is_none_and_at_no_noise_never_changes(steps: int, frames: int) -> None:
    plain = rows(Pyramid(num_steps=steps, lag=0), frames)[:-1]
    full = list(Capped(num_steps=steps, caps=(steps,) * frames).steps(frames + 1, known=1))[1:]
    assert [list(s.level_from[1:]) for s in full if isinstance(s, Step)] == plain
    for step in list(Capped(num_steps=steps, caps=(0,)).steps(frames + 2, known=1))[1:]:
        assert isinstance(step, Step) and step.level_from[1] == step.level_to[1] == 0


@given(st.integers(1, 8), st.integers(1, 4), st.booleans())
def test_p15_freeinit(steps: int, passes: int, fast: bool) -> None:
    """The sampler runs `passes` times from the top with all of its steps, the fast one with S i / n in run i."""
    moves = list(Repeated(num_steps=steps, passes=passes, fast=fast).steps(3))
    runs = [list(run) for lifts, run in itertools.groupby(moves, lambda move: isinstance(move, Lift)) if not lifts]
    lengths = [math.ceil(steps * (i + 1) / passes) if fast else steps for i in range(passes)]
    assert [len(run) for run in runs] == lengths
    for run in runs:
        levels = [step.level_from for step in run if isinstance(step, Step)] + [(0, 0, 0)]
        assert levels[0] == (steps,) * 3
        assert all(set(level) == {level[0]} for level in levels)
        assert all(a[0] > b[0] for a, b in itertools.pairwise(levels))
    for lift in (move for move in moves if isinstance(move, Lift)):
        assert (lift.frames, lift.sources, lift.levels) == (range(3), (0, 1, 2), (steps,) * 3)
