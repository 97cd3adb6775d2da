// TW_HD marks a formula that host and device share. Always inlined, so that each instruction set keeps its
// own copy.
#pragma once

#if defined(__CUDACC__)
#define TW_HD __host__ __device__ __forceinline__
#else
#define TW_HD [[gnu::always_inline]] inline
#endif
