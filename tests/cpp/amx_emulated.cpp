// The amx tier's kernel with the tile registers emulated in memory, so that it can be checked on a machine without
// them.
#include <cstddef>
#include <cstdint>

#include "simd/vec_avx512.hpp"
//

namespace {

struct MatrixUnit {
  static inline thread_local std::uint32_t tiles[8][16][16];

  MatrixUnit() noexcept { __builtin_memset(tiles, 0xff, sizeof tiles); }

  template <int kTile>
  static void zero() noexcept {
    __builtin_memset(tiles[kTile], 0, sizeof tiles[kTile]);
  }
  template <int kTile>
  static void load(const float* from, std::size_t stride) noexcept {
    load_bytes<kTile>(from, stride * sizeof(float));
  }
  template <int kTile>
  static void store(float* to, std::size_t stride) noexcept {
    store_bytes<kTile>(to, stride * sizeof(float));
  }
  template <int kTile>
  static void load_bytes(const void* from, std::size_t stride) noexcept {
    const auto* const bytes = static_cast<const char*>(from);
    for (std::size_t r = 0; r < 16; ++r) __builtin_memcpy(tiles[kTile][r], bytes + r * stride, 64);
  }
  template <int kTile>
  static void store_bytes(void* to, std::size_t stride) noexcept {
    auto* const bytes = static_cast<char*>(to);
    for (std::size_t r = 0; r < 16; ++r) __builtin_memcpy(bytes + r * stride, tiles[kTile][r], 64);
  }
  // Intel's description of TDPBF16PS, but for denormals.
  template <int kSum, int kLeft, int kRight>
  static void multiply_add() noexcept {
    const auto low = [](std::uint32_t pair) { return __builtin_bit_cast(float, pair << 16); };
    const auto high = [](std::uint32_t pair) { return __builtin_bit_cast(float, pair & 0xffff0000U); };
    for (int r = 0; r < 16; ++r) {
      for (int c = 0; c < 16; ++c) {
        float sum = __builtin_bit_cast(float, tiles[kSum][r][c]);
        for (int k = 0; k < 16; ++k) {
          const std::uint32_t a = tiles[kLeft][r][k];
          const std::uint32_t b = tiles[kRight][k][c];
          sum += low(a) * low(b);
          sum += high(a) * high(b);
        }
        tiles[kSum][r][c] = __builtin_bit_cast(std::uint32_t, sum);
      }
    }
  }
  // Intel's description of TDPBUSD.
  template <int kSum, int kLeft, int kRight>
  static void multiply_add_bytes() noexcept {
    for (int r = 0; r < 16; ++r) {
      for (int c = 0; c < 16; ++c) {
        for (int k = 0; k < 16; ++k) {
          for (int byte = 0; byte < 4; ++byte) {
            const auto a = static_cast<std::int32_t>(tiles[kLeft][r][k] >> (8 * byte) & 0xff);
            const auto b = static_cast<std::int8_t>(tiles[kRight][k][c] >> (8 * byte) & 0xff);
            tiles[kSum][r][c] += static_cast<std::uint32_t>(a * b);
          }
        }
      }
    }
  }
};

}  // namespace

#include "kernels/amx_codes.inl.hpp"
#include "kernels/amx_medium.inl.hpp"
#include "kernels/amx_tile.inl.hpp"
#include "kernels/split_product.inl.hpp"

namespace fastembed {
namespace {

// For the check of its error; `count` is a multiple of 16.
void rough_sigmoid(const float* x, std::size_t count, float* out) noexcept {
  for (std::size_t i = 0; i < count; i += 16) {
    Vec::store(out + i, rough_logistic(Vec::mul(Vec::load(x + i), Vec::broadcast(-kLog2E))));
  }
}

}  // namespace

extern constinit const KernelTable kTable_amx_emulated = [] {
  KernelTable table{};
  table.sigmoid_f32 = &rough_sigmoid;
  table.sgns_tile = &amx_sgns_tile;
  table.pack_split = &pack_split;
  table.multiply_split = &multiply_split<MatrixUnit>;
  table.code_query_limit = &code_query_limit<MatrixByteProduct>;
  table.pack_code_panel = &pack_code_panel<MatrixByteProduct>;
  table.scan_codes = &scan_codes<MatrixByteProduct>;
  table.scan_medium_codes = &scan_medium_matrix;
  table.greatest_codes = &greatest_codes<MatrixByteProduct>;
  table.scan_code_rows = &scan_code_rows<MatrixByteProduct>;
  table.code_peak = &amx_code_peak;
  table.bf16_query_bits = &bf16_query_bits<MatrixBf16Product>;
  table.pack_bf16_panel = &pack_bf16_panel<MatrixBf16Product>;
  table.scan_bf16_codes = &scan_codes<MatrixBf16Product>;
  table.greatest_bf16_codes = &greatest_codes<MatrixBf16Product>;
  return table;
}();

}  // namespace fastembed
