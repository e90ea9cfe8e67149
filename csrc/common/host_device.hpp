// Functions that run on the GPU and, compiled by an ordinary C++ compiler, in the tests on the CPU: index maps, table
// walks and the arithmetic of one thread. A kernel's body is left with the order of its phases and their barriers.
#pragma once

#if defined(__CUDACC__)
#define CLINAUG_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define CLINAUG_HOST_DEVICE inline
#endif

// Registers are arrays with indices known at compile time: a loop over them must be unrolled, or it goes to memory.
#if defined(__CUDA_ARCH__)
#define CLINAUG_UNROLL _Pragma("unroll")
#else
#define CLINAUG_UNROLL
#endif

// A loop of few rounds: the compiler would make long code of it, for many.
#if defined(__CUDA_ARCH__)
#define CLINAUG_ROLLED _Pragma("unroll 1")
#else
#define CLINAUG_ROLLED
#endif
