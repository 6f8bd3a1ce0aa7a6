// Where the sentences of a corpus begin and end in its ids.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

namespace fastembed::train {

/// Throws std::invalid_argument where reading ids by these offsets would go beyond them. Python says more of those that
/// a user gave.
inline void check_offsets(std::span<const std::int64_t> offsets, std::size_t id_count) {
  if (offsets.empty() || offsets.front() != 0 || !std::is_sorted(offsets.begin(), offsets.end()) ||
      offsets.back() != static_cast<std::int64_t>(id_count)) {
    throw std::invalid_argument("offsets must start at 0, not descend and end at the number of ids, " +
                                std::to_string(id_count));
  }
}

}  // namespace fastembed::train
