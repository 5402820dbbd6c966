"""What makes a run on the CPU give the same numbers, bit for bit, on different x86-64 processors.

By default each library chooses the widest vector instructions that a processor has, and sums in the order that suits
them. These variables make them take the instructions that all processors since 2009 have (x86-64-v2); libraries read
them when they are loaded, glibc when the process starts. Computing takes about twice as long.

Compared bit for bit, with glibc 2.36, on an Intel Xeon with AVX-512 and on Nehalem, Haswell and EPYC emulated by qemu:
all pictures of the demo's pretraining, its first three steps, and one training step (telescopic on all; decoder_only,
lora and end_to_end not on EPYC). Neither a whole training nor scoring was compared.
"""

ENVIRONMENT = {
    # PyTorch and what it computes with.
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    # numpy's own loops, and the matrix products of numpy and SciPy (which blend the background of the demo's shapes).
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Nehalem",
    "OPENBLAS_NUM_THREADS": "1",
    # The C library's sin, exp, log and others, also behind Python's math and numpy's random numbers.
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4",
}
