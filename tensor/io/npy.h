// NumPy's formats: .npy, one array with a short text header, and .npz, a ZIP archive of .npy files.
//
// Read: f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1 in either byte order, C or Fortran order, header versions 1 to 3.
// What has no dtype here is widened where that loses nothing: i1, i2, u2 -> i32; u4 -> i64; u8 -> i64 if
// every value fits; b1 -> u8. Complex, structured, text and object (pickled) arrays are refused.
#pragma once

#include <map>
#include <string>

#include "tensor/tensor.h"

namespace tw {

// Throws Error{data} naming the file, the byte offset, what was expected and what was found.
Tensor load_npy(const std::string& path);
std::map<std::string, Tensor> load_npz(
    const std::string& path);  // by name, without ".npy"; stored or deflated

// Atomic (see atomic_file.h), C order, little-endian. bf16 has no NumPy dtype and is written as f4.
void save_npy(const std::string& path, const Tensor& tensor);
void save_npz(const std::string& path, const std::map<std::string, Tensor>& tensors);

// What an array is, from its header alone.
struct NpyHeader {
  std::string descr;  // "<f4"
  bool fortran_order = false;
  Shape shape;
  size_t data_begin = 0;  // bytes from the start of the array's file
};
NpyHeader read_npy_header(const std::string& path);

}  // namespace tw
