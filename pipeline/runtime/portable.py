"""What makes PyTorch's CPU kernels give the same numbers, bit for bit, on every x86-64 processor.

By default each library chooses the widest vector instructions that a processor has, and sums in the order that suits
them. These variables make ATen, MKL and oneDNN take the instructions that all processors have; libraries read them when
they are loaded. Computing takes about twice as long.
"""

ENVIRONMENT = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"}
