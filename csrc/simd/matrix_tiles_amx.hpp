// AMX tile registers: eight of 16 rows of 64 bytes, products of bfloat16 pairs with float32 sums (TDPBF16PS) and of
// unsigned with signed bytes, four at a time, with int32 sums (TDPBUSD).
// A MatrixUnit configures the registers for its lifetime; they belong to the thread.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace {

class MatrixUnit {
 public:
  static constexpr bool kIsFast = true;
  MatrixUnit() noexcept {
    alignas(64) Configuration configuration{};
    configuration.palette = 1;
    for (int i = 0; i < 8; ++i) {
      configuration.row_bytes[i] = 64;
      configuration.rows[i] = 16;
    }
    // gcc 12 drops the stores above as dead: it does not know that _tile_loadconfig reads them (SIGILL at the first
    // load without this line).
    __asm__ volatile("" : : "r"(&configuration) : "memory");
    _tile_loadconfig(&configuration);
  }
  ~MatrixUnit() { _tile_release(); }
  MatrixUnit(const MatrixUnit&) = delete;
  MatrixUnit& operator=(const MatrixUnit&) = delete;

  // In assembler: gcc's intrinsics paste the number of the tile register from their text, so it cannot be a parameter.
  template <int kTile>
  static void zero() noexcept {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  // 16 rows of 16 elements, `stride` elements apart.
  template <int kTile>
  static void load(const float* from, std::size_t stride) noexcept {
    load_bytes<kTile>(from, stride * sizeof(float));
  }
  template <int kTile>
  static void store(float* to, std::size_t stride) noexcept {
    store_bytes<kTile>(to, stride * sizeof(float));
  }
  // 16 rows of 64 bytes, `stride` bytes apart (0: the same row).
  template <int kTile>
  static void load_bytes(const void* from, std::size_t stride) noexcept {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  static void store_bytes(void* to, std::size_t stride) noexcept {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  // sum[r][c] += a[r] . b[.][c], 16 pairs deep.
  template <int kSum, int kLeft, int kRight>
  static void multiply_add() noexcept {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kLeft), "i"(kRight));
  }
  // The same of bytes, unsigned ones on the left and signed ones on the right, 16 fours deep.
  template <int kSum, int kLeft, int kRight>
  static void multiply_add_bytes() noexcept {
    __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kLeft), "i"(kRight));
  }

 private:
  struct Configuration {
    std::uint8_t palette;
    std::uint8_t start_row;
    std::uint8_t reserved[14];
    std::uint16_t row_bytes[16];
    std::uint8_t rows[16];
  };
};

}  // namespace
