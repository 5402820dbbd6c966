import os
import subprocess
import sys

from pipeline.runtime import portable

# Each line computes with another library; a processor with AVX2 gives other bits where that library's variable is not
# set or not read.
COMPUTATION = """
import hashlib, math
import numpy as np, torch
torch.set_num_threads(1)
# Integers below 2**24, so that the inputs themselves are exact everywhere.
integers = np.arange(1, 40001, dtype=np.int64) * 7919 % 65521
single = (integers / 65536).astype(np.float32) * 8 - 4
square = single.reshape(200, 200)
tensor = torch.from_numpy(square)
results = {
    "numpy_exp": np.exp(single),
    "numpy_product": square @ square.T,
    "c_library_sin": np.array([math.sin(float(value) * 100) for value in single]),
    "torch_product": (tensor @ tensor.T).numpy(),
    "torch_exp": tensor.exp().numpy(),
    "torch_softmax": tensor.softmax(1).numpy(),
    "torch_convolution": torch.conv2d(tensor[None, None], tensor[:5, :5].reshape(1, 1, 5, 5)).numpy(),
}
for name, values in results.items():
    print(name, hashlib.sha256(values.tobytes()).hexdigest()[:16])
"""
# From the versions of the lock and glibc 2.36; equal on every processor compared in pipeline/runtime/portable.py.
DIGESTS = {
    "numpy_exp": "365e53cac986fd19",
    "numpy_product": "8e82c28ab6bf345e",
    "c_library_sin": "1af951f13c04e324",
    "torch_product": "4baa0cd0bf90fea3",
    "torch_exp": "ced2dbf41e1bc12a",
    "torch_softmax": "40aa21d3072de2f6",
    "torch_convolution": "44fcc43645265e16",
}


def test_libraries_compute_with_the_portable_instructions():
    environment = {**os.environ, **portable.ENVIRONMENT}
    command = [sys.executable, "-c", COMPUTATION]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert dict(line.split() for line in done.stdout.splitlines()) == DIGESTS
