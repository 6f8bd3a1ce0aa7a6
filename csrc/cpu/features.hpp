// What the CPU and the operating system allow, as a mask of feature bits: CPUID and XCR0 on x86-64, the HWCAP
// vector on AArch64. Holds no policy: ranking and choosing tiers is dispatch's work.
#pragma once

#include <cstdint>

namespace fastembed::cpu {

using FeatureMask = std::uint64_t;

constexpr FeatureMask kFeature_popcnt = 1ULL << 0;
constexpr FeatureMask kFeature_bmi1 = 1ULL << 1;
constexpr FeatureMask kFeature_bmi2 = 1ULL << 2;
constexpr FeatureMask kFeature_f16c = 1ULL << 3;
constexpr FeatureMask kFeature_fma = 1ULL << 4;
constexpr FeatureMask kFeature_avx2 = 1ULL << 5;
constexpr FeatureMask kFeature_avx512f = 1ULL << 6;
constexpr FeatureMask kFeature_avx512bw = 1ULL << 7;
constexpr FeatureMask kFeature_avx512dq = 1ULL << 8;
constexpr FeatureMask kFeature_avx512vl = 1ULL << 9;
constexpr FeatureMask kFeature_avx512cd = 1ULL << 10;
constexpr FeatureMask kFeature_avx512bf16 = 1ULL << 11;
constexpr FeatureMask kFeature_amx_tile = 1ULL << 12;
constexpr FeatureMask kFeature_amx_bf16 = 1ULL << 13;
constexpr FeatureMask kFeature_avx512vnni = 1ULL << 14;
constexpr FeatureMask kFeature_amx_int8 = 1ULL << 15;
constexpr FeatureMask kFeature_neon = 1ULL << 32;
constexpr FeatureMask kFeature_neondot = 1ULL << 33;

/// The features that both the CPU and the operating system support, detected once.
FeatureMask detected_features() noexcept;

/// The name of the lowest feature bit set in `mask`, or "" when the mask is empty.
const char* feature_name(FeatureMask mask) noexcept;

}  // namespace fastembed::cpu
