// A row of a table by a number in memory; 16 bytes a thread where rows and addresses allow it.
#include "kernels/cuda/library.h"
#include "tensor/view.h"

namespace tw::cuda {
namespace {

template <class Word>
__global__ void row_kernel(Word* table, const int64_t* row, int64_t rows, Word* one, int64_t words,
                           bool take) {
  Word* const in_table = table + *row % rows * words;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < words; i += step)
    if (take)
      one[i] = in_table[i];
    else
      in_table[i] = one[i];
}

__global__ void count_kernel(int64_t* row) { ++*row; }

template <class Word>
const char* move_words(const View& table, const View& row, const View& one, int64_t bytes, bool take) {
  const auto words = bytes / static_cast<int64_t>(sizeof(Word));
  launch(row_kernel<Word>, blocks_for(words), threads, static_cast<Word*>(table.pointer),
         static_cast<const int64_t*>(row.pointer), table.dim(0), static_cast<Word*>(one.pointer), words,
         take);
  return launched("step_row");
}

const char* move_row(const View& table, const View& row, const View& one, bool take) {
  const int64_t bytes = one.numel() * static_cast<int64_t>(dtype_size(one.dtype));
  if (bytes == 0) return nullptr;
  const auto aligned = [&](int64_t to) {
    return bytes % to == 0 && reinterpret_cast<uintptr_t>(table.pointer) % to == 0 &&
           reinterpret_cast<uintptr_t>(one.pointer) % to == 0;
  };
  if (aligned(16)) return move_words<uint4>(table, row, one, bytes, take);
  if (aligned(4)) return move_words<uint32_t>(table, row, one, bytes, take);
  return move_words<uint8_t>(table, row, one, bytes, take);
}

}  // namespace

TW_CUDA_EXPORT tw_cuda_take_row(const View* table, const View* row, const View* to) {
  return move_row(*table, *row, *to, true);
}

TW_CUDA_EXPORT tw_cuda_put_row(const View* table, const View* row, const View* from) {
  return move_row(*table, *row, *from, false);
}

TW_CUDA_EXPORT tw_cuda_count_up(const View* row) {
  launch(count_kernel, 1, 1, static_cast<int64_t*>(row->pointer));
  return launched("count_up");
}

}  // namespace tw::cuda
