#include "train/samplers.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace fastembed::train {
namespace {

constexpr double kTwo32 = 4294967296.0;

std::uint32_t threshold_of(double probability) {
  return static_cast<std::uint32_t>(std::clamp(std::floor(probability * kTwo32), 0.0, kTwo32 - 1.0));
}

}  // namespace

AliasTable::AliasTable(std::span<const std::int64_t> counts, double exponent) : columns_(counts.size()) {
  std::vector<double> scaled(counts.size());
  double total = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    scaled[i] = counts[i] > 0 ? std::pow(static_cast<double>(counts[i]), exponent) : 0;
    total += scaled[i];
  }
  if (!(total > 0) || !std::isfinite(total)) {
    throw std::invalid_argument("negative sampling needs counts whose sum of count^ns_exponent is positive and finite");
  }
  std::vector<std::int32_t> small;
  std::vector<std::int32_t> large;
  for (std::size_t i = 0; i < scaled.size(); ++i) {
    scaled[i] = scaled[i] / total * static_cast<double>(scaled.size());
    (scaled[i] < 1.0 ? small : large).push_back(static_cast<std::int32_t>(i));
  }
  while (!small.empty() && !large.empty()) {
    const std::int32_t low = small.back();
    const std::int32_t high = large.back();
    small.pop_back();
    columns_[low] = {threshold_of(scaled[low]), high};
    scaled[high] -= 1.0 - scaled[low];
    if (scaled[high] < 1.0) {
      large.pop_back();
      small.push_back(high);
    }
  }
  // What is left differs from 1 by rounding alone.
  for (const auto* rest : {&small, &large}) {
    for (const std::int32_t word : *rest) columns_[word] = {0xffffffffU, word};
  }
}

std::vector<std::uint32_t> keep_thresholds(std::span<const std::int64_t> counts, double sample) {
  double total = 0;
  for (const auto count : counts) total += static_cast<double>(count);
  std::vector<std::uint32_t> thresholds(counts.size(), 0xffffffffU);
  if (sample <= 0) return thresholds;
  const double threshold_count = sample * total;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double ratio = static_cast<double>(counts[i]) / threshold_count;
    thresholds[i] = threshold_of((std::sqrt(ratio) + 1.0) / ratio);
  }
  return thresholds;
}

}  // namespace fastembed::train
