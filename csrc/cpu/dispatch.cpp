#include "cpu/dispatch.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <stdexcept>

#include "cpu/features.hpp"

namespace fastembed {

#define FASTEMBED_ISA_ROW(name, rank, mask) extern const KernelTable kTable_##name;
#include "isa_registry.inc"
#undef FASTEMBED_ISA_ROW

}  // namespace fastembed

namespace fastembed::cpu {
namespace {

constexpr std::size_t kKernelCount = 0
#define FASTEMBED_COUNT(name, result, parameters) +1
    FASTEMBED_KERNELS(FASTEMBED_COUNT)
#undef FASTEMBED_COUNT
    ;

struct Tier {
  std::string_view name;
  int rank;
  FeatureMask required;
  const KernelTable* own;
  KernelTable merged{};
  std::array<std::string_view, kKernelCount> served_by{};

  [[nodiscard]] FeatureMask missing() const noexcept { return required & ~detected_features(); }
};

void inherit(Tier& tier, const Tier* below) {
  std::size_t index = 0;
#define FASTEMBED_INHERIT(kernel, result, parameters)    \
  if (tier.own->kernel != nullptr || below == nullptr) { \
    tier.merged.kernel = tier.own->kernel;               \
    tier.served_by[index] = tier.name;                   \
  } else {                                               \
    tier.merged.kernel = below->merged.kernel;           \
    tier.served_by[index] = below->served_by[index];     \
  }                                                      \
  ++index;
  FASTEMBED_KERNELS(FASTEMBED_INHERIT)
#undef FASTEMBED_INHERIT
}

// Lowest rank first. A tier inherits from the tier below it whether or not the machine runs that one: a higher
// tier's features include the lower one's.
std::vector<Tier> make_tiers() {
  std::vector<Tier> tiers{
#define FASTEMBED_ISA_ROW(name, rank, mask) Tier{#name, rank, (mask), &kTable_##name},
#include "isa_registry.inc"
#undef FASTEMBED_ISA_ROW
  };
  std::sort(tiers.begin(), tiers.end(), [](const Tier& a, const Tier& b) { return a.rank < b.rank; });
  for (std::size_t i = 0; i < tiers.size(); ++i) inherit(tiers[i], i == 0 ? nullptr : &tiers[i - 1]);
  return tiers;
}

const std::vector<Tier>& tiers() {
  static const std::vector<Tier> all = make_tiers();
  return all;
}

const Tier& best_tier() {
  const auto& all = tiers();
  for (auto tier = all.rbegin(); tier != all.rend(); ++tier) {
    if (tier->missing() == 0) return *tier;
  }
  return all.front();
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

const Tier& find_tier(std::string_view name) {
  for (const auto& tier : tiers()) {
    if (tier.name != name) continue;
    if (tier.missing() == 0) return tier;
    throw std::runtime_error("instruction set '" + std::string(name) + "' needs the CPU feature '" +
                             feature_name(tier.missing()) +
                             "', which this machine lacks; available: " + joined(available_isas()));
  }
  throw std::runtime_error("unknown instruction set '" + std::string(name) +
                           "'; available: " + joined(available_isas()));
}

std::atomic<const Tier*> active{nullptr};

const Tier& active_tier() noexcept {
  const Tier* tier = active.load(std::memory_order_acquire);
  if (tier == nullptr) {
    tier = &best_tier();
    active.store(tier, std::memory_order_release);
  }
  return *tier;
}

}  // namespace

const KernelTable& kernels() noexcept { return active_tier().merged; }

std::string_view active_isa() noexcept { return active_tier().name; }

std::vector<std::string> compiled_isas() {
  std::vector<std::string> names;
  for (auto tier = tiers().rbegin(); tier != tiers().rend(); ++tier) names.emplace_back(tier->name);
  return names;
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (auto tier = tiers().rbegin(); tier != tiers().rend(); ++tier) {
    if (tier->missing() == 0) names.emplace_back(tier->name);
  }
  return names;
}

std::vector<std::pair<std::string, std::string>> active_kernels() {
  const Tier& tier = active_tier();
  std::vector<std::pair<std::string, std::string>> served;
  std::size_t index = 0;
#define FASTEMBED_SERVED(kernel, result, parameters) served.emplace_back(#kernel, tier.served_by[index++]);
  FASTEMBED_KERNELS(FASTEMBED_SERVED)
#undef FASTEMBED_SERVED
  return served;
}

void select_isa(std::string_view name) {
  active.store(name.empty() ? &best_tier() : &find_tier(name), std::memory_order_release);
}

const KernelTable& kernels_of(std::string_view name) { return find_tier(name).merged; }

}  // namespace fastembed::cpu
