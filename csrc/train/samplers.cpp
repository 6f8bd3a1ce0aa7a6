#include "train/samplers.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace fastembed::train {
namespace {

constexpr double kTwo32 = 4294967296.0;

std::uint32_t threshold_of(double probability) {
  return static_cast<std::uint32_t>(std::clamp(std::floor(probability * kTwo32), 0.0, kTwo32 - 1.0));
}

// Bands of the noise in a part: enough for each to have words of every frequency, few enough to be wide ones.
constexpr std::size_t kBands = 4;

double sum_of(std::span<const double> weights) {
  double total = 0;
  for (const double weight : weights) total += weight;
  return total;
}

std::vector<double> noise_weights(std::span<const std::int64_t> counts, double exponent) {
  std::vector<double> weights(counts.size());
  for (std::size_t i = 0; i < counts.size(); ++i) {
    weights[i] = counts[i] > 0 ? std::pow(static_cast<double>(counts[i]), exponent) : 0;
  }
  return weights;
}

}  // namespace

AliasTable::AliasTable(std::span<const std::int64_t> counts, double exponent)
    : AliasTable(noise_weights(counts, exponent)) {}

AliasTable::AliasTable(std::vector<double> scaled) : columns_(scaled.size()) {
  const double total = sum_of(scaled);
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

// Bands of equal weight, from the first word to the last, are dealt out in turn.
std::vector<AliasTable> AliasTable::parts(std::span<const std::int64_t> counts, double exponent,
                                          std::size_t part_count) {
  const std::vector<double> weights = noise_weights(counts, exponent);
  std::vector<std::vector<double>> shares(part_count, std::vector<double>(weights.size()));
  const std::size_t last_band = kBands * part_count - 1;
  const double band_weight = sum_of(weights) / static_cast<double>(kBands * part_count);
  std::size_t band = 0;
  double room = band_weight;  // that this band still has
  for (std::size_t word = 0; word < weights.size(); ++word) {
    double left = weights[word];
    for (; left >= room && band < last_band; ++band) {
      shares[band % part_count][word] += room;
      left -= room;
      room = band_weight;
    }
    shares[band % part_count][word] += left;
    room -= left;
  }
  std::vector<AliasTable> tables;
  for (std::vector<double>& part : shares) tables.push_back(AliasTable(std::move(part)));
  return tables;
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
