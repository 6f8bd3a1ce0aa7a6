// Memory that was freed but that the C library keeps for later. Never included by ISA code.
#pragma once

#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace fastembed::support {

/// Gives it back to the system. For the end of a phase whose memory the next one cannot reuse.
inline void return_free_memory() noexcept {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace fastembed::support
