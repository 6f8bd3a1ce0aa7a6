// The default floating-point environment for as long as an object lives: round to nearest, denormals kept. Programs
// that set another (a library built with -ffast-math does so when it is loaded) get the same bits as all others.
#pragma once

#include <cfenv>

namespace fastembed::support {

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

}  // namespace fastembed::support
