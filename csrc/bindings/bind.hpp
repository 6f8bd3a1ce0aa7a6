// One entry point per subject; module.cpp calls them all.
#pragma once

#include <pybind11/pybind11.h>

namespace fastembed::bindings {

void bind_corpus(pybind11::module_& m);
void bind_cpu(pybind11::module_& m);
void bind_kernels(pybind11::module_& m);
void bind_phrases(pybind11::module_& m);
void bind_search(pybind11::module_& m);
void bind_train(pybind11::module_& m);

}  // namespace fastembed::bindings
