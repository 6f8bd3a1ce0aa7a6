#include "cpu/features.hpp"

#include <array>
#include <utility>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace fastembed::cpu {
namespace {

#if defined(__x86_64__)

// xgetbv as bytes of the instruction: the intrinsic would need -mxsave for this file, which runs on any x86-64.
std::uint64_t read_xcr0() noexcept {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

// Linux gives a process the state of AMX tiles on request only; threads made later inherit the permission.
bool request_tile_state() noexcept {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

FeatureMask detect() noexcept {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return 0;
  const auto bit = [](std::uint32_t word, int index) { return ((word >> index) & 1U) != 0; };
  FeatureMask mask = 0;
  const auto add = [&mask](bool present, FeatureMask feature) {
    if (present) mask |= feature;
  };
  add(bit(ecx, 23), kFeature_popcnt);
  const bool os_saves_registers = bit(ecx, 27);
  const bool has_avx = bit(ecx, 28);
  const bool has_fma = bit(ecx, 12);
  const bool has_f16c = bit(ecx, 29);
  constexpr std::uint64_t kYmmState = 0x6, kZmmState = 0xe6;
  const std::uint64_t xcr0 = os_saves_registers ? read_xcr0() : 0;
  const bool ymm = has_avx && (xcr0 & kYmmState) == kYmmState;
  const bool zmm = ymm && (xcr0 & kZmmState) == kZmmState;
  add(ymm && has_fma, kFeature_fma);
  add(ymm && has_f16c, kFeature_f16c);
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return mask;
  add(bit(ebx, 3), kFeature_bmi1);
  add(bit(ebx, 8), kFeature_bmi2);
  add(ymm && bit(ebx, 5), kFeature_avx2);
  add(zmm && bit(ebx, 16), kFeature_avx512f);
  add(zmm && bit(ebx, 30), kFeature_avx512bw);
  add(zmm && bit(ebx, 17), kFeature_avx512dq);
  add(zmm && bit(ebx, 31), kFeature_avx512vl);
  add(zmm && bit(ebx, 28), kFeature_avx512cd);
  add(zmm && bit(ecx, 11), kFeature_avx512vnni);
  constexpr std::uint64_t kTileState = 0x60000;
  const bool tiles = bit(edx, 24) && (xcr0 & kTileState) == kTileState && request_tile_state();
  add(tiles, kFeature_amx_tile);
  add(tiles && bit(edx, 22), kFeature_amx_bf16);
  add(tiles && bit(edx, 25), kFeature_amx_int8);
  if (eax >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0) add(zmm && bit(eax, 5), kFeature_avx512bf16);
  return mask;
}

#elif defined(__aarch64__) && defined(__linux__)

FeatureMask detect() noexcept {
  constexpr unsigned long kHwcapAdvancedSimd = 1UL << 1, kHwcapDotProducts = 1UL << 20;
  const unsigned long capabilities = getauxval(AT_HWCAP);
  if ((capabilities & kHwcapAdvancedSimd) == 0) return 0;
  return kFeature_neon | ((capabilities & kHwcapDotProducts) != 0 ? kFeature_neondot : 0);
}

#elif defined(__aarch64__)

// Advanced SIMD is part of the base AArch64 profile on every other system with this compiler target; every processor of
// Apple's that runs macOS has the products of bytes.
FeatureMask detect() noexcept {
#if defined(__APPLE__)
  return kFeature_neon | kFeature_neondot;
#else
  return kFeature_neon;
#endif
}

#else

FeatureMask detect() noexcept { return 0; }

#endif

constexpr std::array kNames{
    std::pair{kFeature_popcnt, "popcnt"},     std::pair{kFeature_bmi1, "bmi1"},
    std::pair{kFeature_bmi2, "bmi2"},         std::pair{kFeature_f16c, "f16c"},
    std::pair{kFeature_fma, "fma"},           std::pair{kFeature_avx2, "avx2"},
    std::pair{kFeature_avx512f, "avx512f"},   std::pair{kFeature_avx512bw, "avx512bw"},
    std::pair{kFeature_avx512dq, "avx512dq"}, std::pair{kFeature_avx512vl, "avx512vl"},
    std::pair{kFeature_avx512cd, "avx512cd"}, std::pair{kFeature_avx512bf16, "avx512bf16"},
    std::pair{kFeature_amx_tile, "amx_tile"}, std::pair{kFeature_amx_bf16, "amx_bf16"},
    std::pair{kFeature_amx_int8, "amx_int8"}, std::pair{kFeature_avx512vnni, "avx512vnni"},
    std::pair{kFeature_neon, "neon"},         std::pair{kFeature_neondot, "neondot"},
};

}  // namespace

FeatureMask detected_features() noexcept {
  static const FeatureMask mask = detect();
  return mask;
}

const char* feature_name(FeatureMask mask) noexcept {
  for (const auto& [bit, name] : kNames) {
    if ((mask & bit) != 0) return name;
  }
  return "";
}

}  // namespace fastembed::cpu
