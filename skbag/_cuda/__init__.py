"""The CUDA backend and its kernels."""
