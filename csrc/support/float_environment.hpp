// The default floating-point environment for as long as an object lives: round to nearest, denormals kept. Programs
// that set another (a library built with -ffast-math does so when it is loaded) get the same bits as all others.
#pragma once

#include <cfenv>

namespace fastembed::support {

#if defined(__x86_64__)

/// The x87 unit, which nothing here uses, is left alone: to save and restore it takes a twentieth of a short search.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() noexcept {
    __asm__ volatile("stmxcsr %0" : "=m"(saved_));
    set(kDefault);
  }
  ~DefaultFloatEnvironment() { set(saved_); }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  static constexpr unsigned kDefault = 0x1f80;  // to nearest, denormals kept, no traps
  static void set(unsigned state) noexcept { __asm__ volatile("ldmxcsr %0" : : "m"(state) : "memory"); }
  unsigned saved_ = 0;
};

#else

class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() noexcept {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatEnvironment() { std::fesetenv(&saved_); }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  std::fenv_t saved_{};
};

#endif

}  // namespace fastembed::support
