"""Memory of a stock run before it starts: an estimate from shapes alone, in so many buffers of tokens x width.

The decoders of these families hold more than one latent frame at a time, most of them the whole clip; that is what
their files say in `decoded_values`.
"""

from vgen.models.stock.model import StockModel
from vgen.plan import KERNELS_MIB, MIB, PROCESS_MIB, Plan
from vgen.stock.job import StockJob

__all__ = ["stock_plan"]

BUFFERS_DIT = 14  # live activations of one block, in units of tokens x width
BUFFERS_VAE = 10  # live activations of the decoder's widest level, in units of that level's output
MLP_RATIO = 4
PARTS = ("transformer", "vae", "text_encoder", "text_encoder_2")


def stock_plan(job: StockJob, model: StockModel) -> Plan:
    """Estimates a job's memory; all its frames are decoded at once."""
    width, branches = model.grid.width, 2 if job.branched else 1
    tokens = model.grid.tokens(job) + job.text_length
    activations = branches * tokens * (BUFFERS_DIT + 2 * MLP_RATIO) * width
    channels, T, H, W = job.latent_shape
    parts = [part for part in (getattr(model.pipe, name, None) for name in PARTS) if part is not None]
    weights = sum(p.numel() * p.element_size() for part in parts for p in part.parameters()) / MIB
    denoise = (activations * model.dit.dtype.itemsize + 6 * 4 * channels * T * H * W) / MIB
    decode = 4 * BUFFERS_VAE * model.family.decoded_values({"vae": model.vae.config}, job) / MIB
    on = model.device.type
    return Plan(
        weights=weights,
        text=0.0,
        encode=0.0,
        denoise=denoise,
        decode=decode,
        stages=weights + max(denoise, decode),
        frames=job.num_frames * job.height * job.width * 3 / MIB,
        kernels=KERNELS_MIB[on],
        base=PROCESS_MIB if on == "cpu" else 0.0,
    )
