"""Motion of every pixel between neighbouring frames, at low resolution (DIS: Kroeger et al. 2016, arXiv:1603.03590).

A fallback where nothing could be told apart: does anything move at all.
"""

import cv2
import numpy as np

from vgen.judge.perception.view import Bytes

__all__ = ["flow_share"]

LONG_SIDE_PX = 128
PAIRS = 8  # of neighbouring frames, spread over the clip
FASTEST = 0.98  # quantile of a frame's pixels


def flow_share(rgb_FYX3: Bytes) -> float:
    """Median over the clip of the fastest pixels' speed, over the picture's diagonal, per frame."""
    frames, height, width, _ = rgb_FYX3.shape
    if frames < 2:
        return 0.0
    scale = min(1.0, LONG_SIDE_PX / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    speeds = []
    for first in np.unique(np.linspace(0, frames - 2, PAIRS).round().astype(int)):
        pair = [cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size) for frame in rgb_FYX3[first : first + 2]]
        motion = flow.calc(pair[0], pair[1], None)  # type: ignore[call-overload]  # the stubs know no None: no guess
        speeds.append(float(np.quantile(np.hypot(motion[..., 0], motion[..., 1]), FASTEST)))
    return float(np.median(speeds) / np.hypot(*size))
