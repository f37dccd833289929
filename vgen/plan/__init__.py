"""What a run will need, before it starts: memory, work, seconds and disk, from configs and shapes alone.

ledger.py, drafts.py   the real code run dry, on the meta device: memory and FLOPs of each part
memory.py              what a run takes of the device, under a placement of its weights
passes.py, flops.py    every pass of a job, and how much each computes
machines.py            how fast a machine is
estimate.py            all of it together
room.py                what there is
"""

from vgen.plan.memory import KERNELS_MIB, PROCESS_MIB, Plan, check_memory, in_one_clip, plan_of, with_holes
from vgen.plan.room import MIB, free_mib, host_limit_mib

__all__ = [
    "KERNELS_MIB",
    "MIB",
    "PROCESS_MIB",
    "Plan",
    "check_memory",
    "free_mib",
    "host_limit_mib",
    "in_one_clip",
    "plan_of",
    "with_holes",
]
