// Checks of the kernels that read text.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "check_support.hpp"
#include "cpu/kernel_table.hpp"

namespace fastembed::check {

namespace {

constexpr std::uint32_t kNewlineFollows = 0x80000000U;
constexpr std::size_t kBlockBytes = 64;

// The edges of a whole text that starts outside a token, byte by byte.
std::vector<std::uint32_t> edges_of(const std::vector<std::uint8_t>& bytes, std::uint32_t position, bool& leading) {
  std::vector<std::uint32_t> edges;
  bool in_token = false;
  leading = false;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const bool token = bytes[i] != ' ' && (bytes[i] < '\t' || bytes[i] > '\r');
    if (token != in_token) edges.push_back(position + static_cast<std::uint32_t>(i));
    in_token = token;
    if (bytes[i] != '\n') continue;
    if (edges.empty()) {
      leading = true;
    } else {
      edges.back() |= kNewlineFollows;
    }
  }
  return edges;
}

}  // namespace

// Texts of several densities of white space, at several alignments, whole and in pieces.
void check_token_edges(const KernelTable& table, Report& report) {
  Random random(4);
  const char white[] = {' ', '\n', '\t', '\v', '\f', '\r', ' ', '\n'};
  for (int text_number = 0; text_number < 2000; ++text_number) {
    const std::size_t blocks = 1 + random.next() % 6, shift = random.next() % 4;
    const std::uint64_t white_of_256 = random.next() % 257;
    std::vector<std::uint8_t> bytes(blocks * kBlockBytes);
    for (auto& byte : bytes) {
      const bool is_white = random.next() % 256 < white_of_256;
      byte = is_white ? static_cast<std::uint8_t>(white[random.next() % 8]) : static_cast<std::uint8_t>(random.next());
    }
    const std::uint32_t position = text_number % 2 == 0 ? 0 : 1'000'000;
    bool leading = false;
    const auto wanted = edges_of(bytes, position, leading);
    std::vector<std::uint8_t> shifted(bytes.size() + shift);
    std::copy(bytes.begin(), bytes.end(), shifted.begin() + static_cast<std::ptrdiff_t>(shift));
    const std::size_t pieces = 1 + random.next() % 2, first = pieces == 1 ? blocks : random.next() % (blocks + 1);
    std::vector<std::uint32_t> edges(bytes.size() + 8 + 1, 77);
    fastembed::TokenEdges found{edges.data(), 0, 0, 0, 0};
    table.token_edges_u8(shifted.data() + shift, first, position, found);
    table.token_edges_u8(shifted.data() + shift + first * kBlockBytes, blocks - first,
                         position + static_cast<std::uint32_t>(first * kBlockBytes), found);
    const std::string where = "token_edges_u8" + text("blocks", blocks) + text("first", first) + text("shift", shift);
    report.expect(edges.back() == 77, where + ": wrote behind the edges");
    report.expect(found.edge_count == wanted.size(), where + ": wrong count of edges");
    edges.resize(std::min<std::size_t>(found.edge_count, wanted.size()));
    report.expect(std::equal(edges.begin(), edges.end(), wanted.begin()), where + ": wrong edges");
    report.expect((found.leading_newline != 0) == leading, where + ": wrong leading_newline");
    const bool inside = wanted.size() % 2 == 1;
    report.expect((found.in_token != 0) == inside, where + ": wrong in_token");
  }
}

}  // namespace fastembed::check
