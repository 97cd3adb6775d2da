// SavedLog: what ops keep for the backward pass, tensor by tensor.
//
//   SavedLog log;
//   const Var y = network.forward(x, t);
//   std::cout << log.table();
//
// Copies none of it and keeps none of it alive. Only tensors kept as Saved are seen (autograd/var.h).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace tw {

void claim_saved(const char* op);  // for record(): what was saved since the last op is this one's

class SavedLog {
 public:
  struct Row {
    std::string name;  // of the AllocationName scopes in which the op was recorded
    const char* op;
    Shape shape;
    DType dtype;
    size_t bytes;
    const Storage* storage;  // to be compared, never followed: rows that share it are one piece of memory
  };

  SavedLog();  // from here on, in this thread
  ~SavedLog();
  SavedLog(const SavedLog&) = delete;
  SavedLog& operator=(const SavedLog&) = delete;

  const std::vector<Row>& rows() const { return rows_; }
  // Bytes of the rows, counting storage that rows share once, without what `held` keeps anyway (parameters).
  size_t bytes(const std::vector<Tensor>& held = {}) const;
  std::string table(const std::vector<Tensor>& held = {}) const;

 private:
  friend class Saved;
  friend void claim_saved(const char* op);
  std::vector<Row> rows_;
  size_t claimed_ = 0;
  SavedLog* outer_;
};

}  // namespace tw
