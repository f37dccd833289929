"""What all tests share: nothing is fetched, and hypothesis tries the same examples in every run, in its own time."""

import os

from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # before the first import of huggingface_hub, which reads it then
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: workers share the cores already

settings.register_profile("vgen", deadline=None, derandomize=True)
settings.load_profile("vgen")
