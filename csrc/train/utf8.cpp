#include "train/utf8.hpp"

#include <stdexcept>

namespace fastembed::train {
namespace {

constexpr const char* kInvalidStart = "invalid start byte";
constexpr const char* kInvalidContinuation = "invalid continuation byte";
constexpr const char* kUnexpectedEnd = "unexpected end of data";

struct Sequence {
  std::size_t length;
  const char* fault;  // null: a valid sequence
};

// The second byte's range is narrower after E0 (no overlong), ED (no surrogates), F0 (no overlong) and F4 (nothing
// above U+10FFFF); Unicode standard, table 3-7.
Sequence sequence_at(const std::uint8_t* at, std::size_t available) noexcept {
  const std::uint8_t lead = at[0];
  if (lead < 0x80) return {1, nullptr};
  if (lead < 0xC2 || lead > 0xF4) return {1, kInvalidStart};
  const std::size_t length = lead < 0xE0 ? 2 : (lead < 0xF0 ? 3 : 4);
  std::uint8_t low = 0x80;
  std::uint8_t high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= available) return {i, kUnexpectedEnd};
    if (at[i] < low || at[i] > high) return {i, kInvalidContinuation};
    low = 0x80;
    high = 0xBF;
  }
  return {length, nullptr};
}

}  // namespace

Utf8Errors parse_utf8_errors(std::string_view name) {
  if (name == "strict") return Utf8Errors::kStrict;
  if (name == "replace") return Utf8Errors::kReplace;
  if (name == "ignore") return Utf8Errors::kIgnore;
  throw std::invalid_argument("errors must be 'strict', 'replace' or 'ignore', got '" + std::string(name) + "'");
}

Utf8Fault find_utf8_fault(std::span<const std::uint8_t> bytes, std::size_t from) noexcept {
  while (from < bytes.size()) {
    const Sequence found = sequence_at(bytes.data() + from, bytes.size() - from);
    if (found.fault != nullptr) return {from, found.length, found.fault};
    from += found.length;
  }
  return {};
}

std::string repair_utf8(std::span<const std::uint8_t> bytes, Utf8Errors errors) {
  std::string repaired;
  for (std::size_t from = 0; from < bytes.size();) {
    const Sequence found = sequence_at(bytes.data() + from, bytes.size() - from);
    if (found.fault == nullptr) {
      repaired.append(reinterpret_cast<const char*>(bytes.data()) + from, found.length);
    } else if (errors == Utf8Errors::kReplace) {
      repaired += "\xEF\xBF\xBD";
    }
    from += found.length;
  }
  return repaired;
}

}  // namespace fastembed::train
