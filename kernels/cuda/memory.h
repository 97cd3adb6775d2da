// Device memory from CUDA's stream-ordered pool, for tensors and for the scratch memory of a call.
//
// What is given back may be handed out at once: all work is on one stream, so the next user's comes later.
// The pool keeps everything it was given (its release threshold is raised); it is emptied, and asked again,
// when the device has no more.
#pragma once

#include <string>

#include "kernels/cuda/library.h"

namespace tw::cuda {

enum class MemoryFor { tensor, scratch };

// Returns cudaErrorMemoryAllocation with *pointer null when there is none, also after emptying the pool.
cudaError_t allocate(MemoryFor purpose, size_t bytes, void** pointer);
// Within a captured step the block of a tensor is kept until the capture ends: a graph that gave it back
// would do so in every launch.
void release(MemoryFor purpose, size_t bytes, void* pointer);
void release_kept();  // after a capture

// "12345 bytes held by tensors, 0 by scratch memory, 999 of 4294967296 free on the device"
std::string memory_in_words();

}  // namespace tw::cuda
