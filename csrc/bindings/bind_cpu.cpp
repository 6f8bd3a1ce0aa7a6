// Binds what the machine and the build are: tiers, threads, compiler.
#include <pybind11/stl.h>

#include <map>

#include "bindings/bind.hpp"
#include "cpu/dispatch.hpp"
#include "support/cpu_budget.hpp"
#include "support/own_cpu.hpp"
#include "support/thread_pool.hpp"

namespace fastembed::bindings {

namespace py = pybind11;

void bind_cpu(py::module_& m) {
  m.def("compiled_isas", &cpu::compiled_isas);
  m.def("available_isas", &cpu::available_isas);
  m.def("active_isa", &cpu::active_isa);
  m.def("active_kernels", [] {
    std::map<std::string, std::string> served;
    for (auto& [kernel, isa] : cpu::active_kernels()) served.emplace(kernel, isa);
    return served;
  });
  m.def("select_isa", &cpu::select_isa, py::arg("name"));
  m.def("usable_cpu_count", &support::usable_cpu_count);
  m.def("default_worker_count", &support::default_worker_count);
  m.def("set_default_worker_count", &support::set_default_worker_count, py::arg("workers"));
  m.def("current_cpu", &support::current_cpu);
  m.def("leave_cpu", &support::leave_cpu, py::arg("cpu"));
  m.def("pool_thread_count", &support::pool_thread_count);
  m.def("retire_idle_threads", &support::retire_idle_threads, py::call_guard<py::gil_scoped_release>());
#if defined(__clang__)
  m.attr("compiler") = "clang " __clang_version__;
#elif defined(__GNUC__)
  m.attr("compiler") = "gcc " __VERSION__;
#else
  m.attr("compiler") = "unknown";
#endif
  m.attr("sanitizers") = FASTEMBED_SANITIZE;
  m.attr("cuda_reason") = FASTEMBED_CUDA_REASON;
}

}  // namespace fastembed::bindings
