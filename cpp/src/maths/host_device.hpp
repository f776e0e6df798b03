// Marks functions that run on the host and on the GPU.
#pragma once

#if defined(__CUDACC__)
#define INSTSEG_HOST_DEVICE __host__ __device__
// Bodies of kernels: compiled for the GPU by nvcc, for the host (tests) by any other compiler.
#define INSTSEG_KERNEL __device__
#else
#define INSTSEG_HOST_DEVICE
#define INSTSEG_KERNEL
#endif
