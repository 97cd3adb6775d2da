// The matrix tiles of AMX, configured while one of these is alive: eight tiles of 16 rows of 64 bytes. Only
// for files under cpu/isa/ that are compiled for tiles.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace tw::kernels::TW_ISA {

class TileRegisters {
 public:
  TileRegisters() {
    const Shapes shapes;
    _tile_loadconfig(&shapes);
  }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;

 private:
  struct Shapes {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
};

}  // namespace tw::kernels::TW_ISA
