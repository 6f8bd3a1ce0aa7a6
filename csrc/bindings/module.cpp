// The extension module `fastembed._core`: private, described for type checkers in _core.pyi.
#include "bindings/bind.hpp"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.attr("__version__") = FASTEMBED_VERSION;
  fastembed::bindings::bind_corpus(m);
  fastembed::bindings::bind_cpu(m);
  fastembed::bindings::bind_kernels(m);
  fastembed::bindings::bind_phrases(m);
  fastembed::bindings::bind_search(m);
  fastembed::bindings::bind_train(m);
}
