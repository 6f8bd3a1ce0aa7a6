// UTF-8 as Python's bytes.decode sees it: overlong forms, surrogates and code points above U+10FFFF are invalid, and
// an invalid sequence is the longest prefix of a valid one, or a single byte. Called for tokens not seen before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace fastembed::train {

enum class Utf8Errors { kStrict, kReplace, kIgnore };

/// "strict", "replace" or "ignore"; throws std::invalid_argument otherwise.
Utf8Errors parse_utf8_errors(std::string_view name);

struct Utf8Fault {
  std::size_t offset = 0;
  std::size_t length = 0;  // 0: no fault
  const char* reason = "";
};

/// The first invalid sequence at or after `from`.
Utf8Fault find_utf8_fault(std::span<const std::uint8_t> bytes, std::size_t from) noexcept;

/// Replaces every invalid sequence by U+FFFD, or removes it.
std::string repair_utf8(std::span<const std::uint8_t> bytes, Utf8Errors errors);

}  // namespace fastembed::train
