// Which processor a thread runs on, and how it gets off one that another is using. Never included by ISA code.
#pragma once

namespace fastembed::support {

/// The processor that the calling thread runs on at this moment, -1 where the system does not tell.
int current_cpu() noexcept;

/// Moves the calling thread elsewhere if it runs on processor `cpu` and may run on others, which stay what they are.
void leave_cpu(int cpu) noexcept;

}  // namespace fastembed::support
