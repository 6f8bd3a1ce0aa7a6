// Ranks the instruction-set tiers, picks the best one the machine supports (or the one that was asked for) and
// serves one merged KernelTable: a tier's null entries are inherited from the tier below.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cpu/kernel_table.hpp"

namespace fastembed::cpu {

/// The merged table in force. Load it once per call, outside loops.
const KernelTable& kernels() noexcept;

/// The name of the tier in force.
std::string_view active_isa() noexcept;

/// Every tier in this build, best first, whether or not this machine can run it.
std::vector<std::string> compiled_isas();

/// The tiers this machine can run, best first.
std::vector<std::string> available_isas();

/// For each kernel, the tier that serves it at present.
std::vector<std::pair<std::string, std::string>> active_kernels();

/// Puts a tier in force: "" means the best. Throws std::runtime_error that lists what is available when the name is
/// unknown or the machine lacks a feature.
void select_isa(std::string_view name);

/// The merged table of a named tier, without putting it in force. Throws like select_isa.
const KernelTable& kernels_of(std::string_view name);

}  // namespace fastembed::cpu
