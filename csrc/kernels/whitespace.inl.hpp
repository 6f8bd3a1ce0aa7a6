// Finds tokens: the positions where a text changes between ASCII white space and anything else, 64 bytes at a time.
// The bits become positions here, not in the caller, because only this tier's flags have the bit instructions.
#pragma once

#include "cpu/kernel_table.hpp"

namespace fastembed {
namespace {

constexpr std::uint32_t kSentenceEnd = 0x80000000U;

// A newline belongs to the last token that ended at or before it. A newline is never inside a token, so the number
// of edges up to it is even.
inline void mark_newlines(std::uint64_t newlines, std::uint64_t changes, TokenEdges& found) noexcept {
  while (newlines != 0) {
    const std::uint64_t up_to_newline = newlines ^ (newlines - 1);
    const std::uint32_t edges_before =
        found.edge_count + static_cast<std::uint32_t>(__builtin_popcountll(changes & up_to_newline));
    if (edges_before == 0) {
      found.leading_newline = 1;
    } else {
      found.edges[edges_before - 1] |= kSentenceEnd;
    }
    newlines &= newlines - 1;
  }
}

// Writes eight positions at a time whether or not so many are left: the branch is then taken the same way nearly
// always, where a loop over the bits would be mispredicted once a block.
inline void write_positions(std::uint64_t bits, std::uint32_t position, std::uint32_t* to,
                            std::uint32_t count) noexcept {
  for (std::uint32_t written = 0; written < count; written += 8) {
    for (int i = 0; i < 8; ++i) {
      to[written + i] = position + static_cast<std::uint32_t>(bits == 0 ? 64 : __builtin_ctzll(bits));
      bits &= bits - 1;
    }
  }
}

void token_edges_u8(const std::uint8_t* text, std::size_t blocks, std::uint32_t position, TokenEdges& found) noexcept {
  std::uint64_t in_token = found.in_token;
  for (std::size_t block = 0; block < blocks; ++block, text += 64, position += 64) {
    const ByteBlock bytes = load_bytes(text);
    const std::uint64_t token = ~(bytes.between('\t', '\r') | bytes.equal(' '));
    const std::uint64_t newlines = bytes.equal('\n');
    const std::uint64_t changes = token ^ ((token << 1) | in_token);
    in_token = token >> 63;
    const auto count = static_cast<std::uint32_t>(__builtin_popcountll(changes));
    write_positions(changes, position, found.edges + found.edge_count, count);
    if (newlines != 0) mark_newlines(newlines, changes, found);
    found.edge_count += count;
  }
  found.in_token = static_cast<std::uint32_t>(in_token);
}

}  // namespace
}  // namespace fastembed
