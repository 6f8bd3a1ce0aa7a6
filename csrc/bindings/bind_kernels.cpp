// Single kernels of a named tier, for the tests of every kernel on every instruction set. Not used by the package.
#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/arrays.hpp"
#include "bindings/bind.hpp"
#include "cpu/dispatch.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::bindings {
namespace {

using Rows = ContiguousArray<float>;

struct RowView {
  float* data;
  std::size_t rows;
  std::size_t depth;
};

RowView rows_of(Rows& array, const char* name) {
  if (array.ndim() != 2 || array.shape(1) % kRowPadding != 0 || array.shape(1) == 0) {
    throw std::invalid_argument(std::string(name) + " must have 2 dimensions, the second a multiple of " +
                                std::to_string(kRowPadding));
  }
  return {array.mutable_data(), static_cast<std::size_t>(array.shape(0)), static_cast<std::size_t>(array.shape(1))};
}

std::vector<float*> pick_rows(const RowView& matrix, const std::vector<std::size_t>& words, const char* name) {
  if (words.empty()) throw std::invalid_argument(std::string(name) + " must not be empty");
  std::vector<float*> rows;
  for (const auto word : words) {
    if (word >= matrix.rows) throw std::invalid_argument(std::string(name) + " names a row outside the matrix");
    rows.push_back(matrix.data + word * matrix.depth);
  }
  return rows;
}

LossSum empty_loss() {
  LossSum loss{};
  std::fill(std::begin(loss.factor_lanes), std::end(loss.factor_lanes), 1.0F);
  return loss;
}

float kernel_dot(const std::string& isa, const Rows& a, const Rows& b) {
  const auto left = view_1d(a, "a");
  const auto right = view_1d(b, "b");
  if (left.size() != right.size()) throw std::invalid_argument("a and b must have the same length");
  return cpu::kernels_of(isa).dot_f32(left.data(), right.data(), left.size());
}

Rows kernel_sigmoid(const std::string& isa, const Rows& x) {
  const auto values = view_1d(x, "x");
  Rows out(static_cast<py::ssize_t>(values.size()));
  cpu::kernels_of(isa).sigmoid_f32(values.data(), values.size(), out.mutable_data());
  return out;
}

double kernel_sgns(const std::string& isa, Rows input, Rows output, const std::vector<std::size_t>& contexts,
                   const std::vector<std::size_t>& targets, float learning_rate) {
  const RowView inputs = rows_of(input, "input");
  const RowView outputs = rows_of(output, "output");
  if (inputs.depth != outputs.depth) throw std::invalid_argument("input and output must have the same depth");
  const auto context_rows = pick_rows(inputs, contexts, "contexts");
  const auto target_rows = pick_rows(outputs, targets, "targets");
  // Every row copied first: more copies than the contract asks for, never fewer.
  const std::vector<float> copies(inputs.data, inputs.data + inputs.rows * inputs.depth);
  std::vector<const float*> context_values;
  context_values.reserve(contexts.size());
  for (const auto word : contexts) context_values.push_back(copies.data() + word * inputs.depth);
  support::AlignedBuffer<float> workspace((contexts.size() + targets.size()) * inputs.depth +
                                          32 * ((contexts.size() + 1) / 2) * ((targets.size() + 5) / 6));
  LossSum loss = empty_loss();
  const KernelTable& kernels = cpu::kernels_of(isa);
  kernels.sgns_window_f32({context_values.data(), context_rows.data(), target_rows.data(), nullptr,
                           static_cast<std::uint32_t>(contexts.size()), static_cast<std::uint32_t>(targets.size()),
                           static_cast<std::uint32_t>(inputs.depth), learning_rate, workspace.data(), &loss});
  kernels.drain_loss(loss);
  return loss.total;
}

double kernel_cbow(const std::string& isa, Rows input, Rows output, const std::vector<std::size_t>& contexts,
                   const std::vector<std::size_t>& targets, float learning_rate, float hidden_scale,
                   float gradient_scale) {
  const RowView inputs = rows_of(input, "input");
  const RowView outputs = rows_of(output, "output");
  if (inputs.depth != outputs.depth) throw std::invalid_argument("input and output must have the same depth");
  const auto context_rows = pick_rows(inputs, contexts, "contexts");
  const auto target_rows = pick_rows(outputs, targets, "targets");
  support::AlignedBuffer<float> workspace((targets.size() + 2) * inputs.depth + 32 * ((targets.size() + 5) / 6));
  LossSum loss = empty_loss();
  const KernelTable& kernels = cpu::kernels_of(isa);
  kernels.cbow_window_f32({context_rows.data(), target_rows.data(), nullptr,
                           static_cast<std::uint32_t>(contexts.size()), static_cast<std::uint32_t>(targets.size()),
                           static_cast<std::uint32_t>(inputs.depth), learning_rate, hidden_scale, gradient_scale,
                           workspace.data(), &loss});
  kernels.drain_loss(loss);
  return loss.total;
}

double kernel_fma_peak(const std::string& isa, std::size_t rounds) {
  const KernelTable& kernels = cpu::kernels_of(isa);
  float sink[2] = {0.999F, 0.001F};
  const py::gil_scoped_release release;
  return kernels.fma_peak_f32(rounds, sink);
}

double kernel_code_peak(const std::string& isa, std::size_t rounds) {
  const KernelTable& kernels = cpu::kernels_of(isa);
  std::int32_t sink[32] = {1, 2, 3, 4};
  const py::gil_scoped_release release;
  return kernels.code_peak(rounds, sink);
}

}  // namespace

void bind_kernels(py::module_& m) {
  m.def("kernel_dot_f32", &kernel_dot, py::arg("isa"), py::arg("a").noconvert(), py::arg("b").noconvert());
  m.def("kernel_sigmoid_f32", &kernel_sigmoid, py::arg("isa"), py::arg("x").noconvert());
  m.def("kernel_fma_peak_f32", &kernel_fma_peak, py::arg("isa"), py::arg("rounds"));
  m.def("kernel_code_peak", &kernel_code_peak, py::arg("isa"), py::arg("rounds"));
  m.def("kernel_sgns_window_f32", &kernel_sgns, py::arg("isa"), py::arg("input").noconvert(),
        py::arg("output").noconvert(), py::arg("contexts"), py::arg("targets"), py::arg("learning_rate"));
  m.def("kernel_cbow_window_f32", &kernel_cbow, py::arg("isa"), py::arg("input").noconvert(),
        py::arg("output").noconvert(), py::arg("contexts"), py::arg("targets"), py::arg("learning_rate"),
        py::arg("hidden_scale"), py::arg("gradient_scale"));
}

}  // namespace fastembed::bindings
