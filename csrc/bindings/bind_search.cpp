// Similarity and exact search. The arrays' meaning is checked in Python; here only what memory safety needs.
#include <pybind11/stl.h>

#include <optional>
#include <string_view>
#include <tuple>

#include "bindings/arrays.hpp"
#include "bindings/bind.hpp"
#include "bindings/index_rows.hpp"
#include "cpu/dispatch.hpp"
#include "search/code_scan.hpp"
#include "search/codes.hpp"
#include "search/similarity.hpp"
#include "search/topk.hpp"
#include "support/aligned_buffer.hpp"
#include "support/page_advice.hpp"

namespace fastembed::bindings {
namespace {

using search::Matrix;
using search::Metric;

using Rows = StridedArray<float>;
using OptionalNorms = std::optional<ContiguousArray<float>>;
using OptionalMask = std::optional<ContiguousArray<bool>>;
using OptionalOrder = std::optional<ContiguousArray<std::int64_t>>;

Matrix matrix_of(const RowsView<float>& view) { return {view.data, view.rows, view.columns, view.stride}; }
Matrix matrix_of(const Rows& array, const char* name) { return matrix_of(strided_rows(array, name)); }
Matrix output_of(const Rows& array) { return matrix_of(separate_rows(array, "out")); }

Metric metric_of(std::string_view name) {
  if (name == "cosine") return Metric::kCosine;
  if (name == "dot") return Metric::kDot;
  if (name == "l2") return Metric::kL2;
  throw std::invalid_argument("metric must be 'cosine', 'dot' or 'l2', got '" + std::string(name) + "'");
}

search::CodeKind kind_of(std::string_view name) {
  if (name == "int8") return search::CodeKind::kInt8;
  if (name == "bf16") return search::CodeKind::kBf16;
  throw std::invalid_argument("kind must be 'int8' or 'bf16', got '" + std::string(name) + "'");
}

void same_depth(std::size_t a, std::size_t b) {
  if (a != b || a == 0 || a > UINT32_MAX) {
    throw std::invalid_argument("both sides must have the same dim, at least 1");
  }
}

// Residuals, coarse codes or quarters, and their errors.
using CodeParts = std::tuple<ContiguousArray<std::uint8_t>, ContiguousArray<float>>;

void check_parts(const std::optional<CodeParts>& parts, const search::CodeSpace& space, std::size_t rows,
                 std::size_t bytes, const char* name) {
  if (!parts) return;
  if (space.kind() != search::CodeKind::kInt8 || view_1d(std::get<0>(*parts), name).size() < bytes ||
      view_1d(std::get<1>(*parts), name).size() < rows / kCodeGroup) {
    throw std::invalid_argument(std::string(name) + " or their errors do not have the size that the rows ask for");
  }
}

void check_all_parts(const search::CodeSpace& space, std::size_t rows, const std::optional<CodeParts>& residuals,
                     const std::optional<CodeParts>& coarse, const std::optional<CodeParts>& quarters) {
  check_parts(residuals, space, rows, rows * space.nibble_stride(), "residuals");
  check_parts(coarse, space, rows, rows * space.nibble_stride() + kCodeSlack, "coarse");
  check_parts(quarters, space, rows, rows * space.quarter_stride(), "quarters");
  if (quarters && !coarse) throw std::invalid_argument("quarters need coarse, which they go with");
}

// The codes of an index, with the arrays they are in.
class IndexCodes {
 public:
  IndexCodes(std::string_view metric, const ContiguousArray<float>& mean, ContiguousArray<std::uint8_t> codes,
             ContiguousArray<float> scales, ContiguousArray<float> lengths, ContiguousArray<float> errors,
             const OptionalNorms& squares, std::size_t rows, std::string_view kind, std::optional<CodeParts> residuals,
             std::optional<CodeParts> coarse, std::optional<CodeParts> quarters)
      : space_(kind_of(kind), metric_of(metric), view_1d(mean, "mean").size(), mean.data()),
        held_{std::move(codes), std::move(scales),    std::move(lengths), std::move(errors),
              squares,          std::move(residuals), std::move(coarse),  std::move(quarters)} {
    const std::size_t groups = (rows + kCodeGroup - 1) / kCodeGroup;
    const bool is_l2 = space_.metric() == Metric::kL2;
    if (rows % kCodeGroup != 0 || space_.depth() == 0 || space_.depth() > search::kMostCodeDepth ||
        view_1d(held_.codes, "codes").size() < rows * space_.stride() + kCodeSlack ||
        view_1d(held_.scales, "scales").size() < groups || view_1d(held_.lengths, "lengths").size() < groups ||
        view_1d(held_.errors, "errors").size() < groups || squares.has_value() != is_l2 ||
        (is_l2 && view_1d(*held_.squares, "squares").size() < rows)) {
      throw std::invalid_argument("codes, scales, lengths, errors or squares do not have the size that rows asks for");
    }
    check_all_parts(space_, rows, held_.residuals, held_.coarse, held_.quarters);
    codes_.space = &space_;
    codes_.rows = rows;
    codes_.at = {held_.codes.data(), held_.scales.data(), held_.lengths.data(), held_.errors.data(),
                 is_l2 ? held_.squares->data() : nullptr};
    if (held_.residuals) {
      codes_.at.residuals = std::get<0>(*held_.residuals).data();
      codes_.at.residual_errors = std::get<1>(*held_.residuals).data();
    }
    if (held_.coarse) {
      codes_.at.coarse = std::get<0>(*held_.coarse).data();
      codes_.at.coarse_errors = std::get<1>(*held_.coarse).data();
    }
    if (held_.quarters) {
      codes_.at.quarters = std::get<0>(*held_.quarters).data();
      codes_.at.medium_errors = std::get<1>(*held_.quarters).data();
    }
  }
  IndexCodes(const IndexCodes&) = delete;
  IndexCodes& operator=(const IndexCodes&) = delete;
  [[nodiscard]] const search::Codes& codes() const noexcept { return codes_; }

 private:
  struct Held {
    ContiguousArray<std::uint8_t> codes;
    ContiguousArray<float> scales, lengths, errors;
    OptionalNorms squares;
    std::optional<CodeParts> residuals, coarse, quarters;
  };
  search::CodeSpace space_;
  Held held_;
  search::Codes codes_;
};

// The part of a Request that top-k and range search share.
struct Arguments {
  search::Request request;

  Arguments(const Rows& queries, const py::object& index, std::string_view metric, const OptionalNorms& norms,
            const OptionalMask& mask, const OptionalOrder& order, std::int64_t self_first, bool check_finite,
            int workers, const py::object& codes, bool accelerate) {
    request.queries = matrix_of(queries, "queries");
    request.index = index_rows(index, "index");
    same_depth(request.queries.depth, request.index.depth);
    request.metric = metric_of(metric);
    request.workers = std::max(workers, 1);
    request.self_first = self_first;
    request.check_finite = check_finite;
    request.tick = &check_signals;
    const std::size_t rows = request.index.rows;
    if (norms) request.norms = of_length(*norms, rows, "norms");
    if (order) request.order = of_length(*order, rows, "order");
    if (mask) set_mask(*mask);
    request.accelerate = accelerate;
    if (codes.is_none()) return;
    const search::Codes& given = codes.cast<const IndexCodes&>().codes();
    if (given.space->depth() != request.index.depth || given.space->metric() != request.metric || given.rows > rows) {
      throw std::invalid_argument("codes are not those of index");
    }
    if (accelerate) request.codes = &given;
  }

 private:
  template <class T>
  static const T* of_length(const ContiguousArray<T>& array, std::size_t length, const char* name) {
    const auto view = view_1d(array, name);
    if (view.size() != length) throw std::invalid_argument(std::string(name) + " must have one element a row of index");
    return view.data();
  }
  void set_mask(const ContiguousArray<bool>& mask) {
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(mask.data());
    if (mask.ndim() == 1 && static_cast<std::size_t>(mask.size()) == request.index.rows) {
      request.mask = bytes;
    } else {
      request.query_masks =
          reinterpret_cast<const std::uint8_t*>(view_rows(mask, "mask", request.queries.rows, request.index.rows));
    }
  }
};

std::tuple<std::int64_t, std::int64_t> search_topk(const Rows& queries, const py::object& index,
                                                   std::string_view metric, ContiguousArray<float>& scores,
                                                   ContiguousArray<std::int64_t>& rows, const OptionalNorms& norms,
                                                   const OptionalMask& mask, const OptionalOrder& order,
                                                   std::optional<double> threshold, std::int64_t self_first,
                                                   bool check_finite, int workers, const py::object& codes,
                                                   bool accelerate, std::optional<ContiguousArray<std::int64_t>> counts,
                                                   std::optional<bool> medium) {
  Arguments arguments(queries, index, metric, norms, mask, order, self_first, check_finite, workers, codes, accelerate);
  arguments.request.has_threshold = threshold.has_value();
  arguments.request.threshold = static_cast<float>(threshold.value_or(0.0));
  arguments.request.medium = medium;
  const std::size_t count = arguments.request.queries.rows;
  const std::size_t k = scores.ndim() == 0 ? 0 : static_cast<std::size_t>(scores.shape(scores.ndim() - 1));
  if (count != 1 || scores.ndim() != 1 || rows.ndim() != 1 || static_cast<std::size_t>(rows.size()) != k) {
    view_rows(scores, "scores_out", count, k);
    view_rows(rows, "rows_out", count, k);
  }
  float* const scores_out = scores.mutable_data();
  std::int64_t* const rows_out = rows.mutable_data();
  search::SearchCounts found;
  std::span<std::int64_t> counts_out;
  if (counts) {
    counts_out = writable_view_1d(*counts, "counts");
    if (counts_out.size() != 4) throw std::invalid_argument("counts must have 4 elements");
    arguments.request.counts = &found;
  }
  const py::gil_scoped_release release;
  const search::BadRows bad = search::topk(arguments.request, k, scores_out, rows_out);
  if (counts) {
    counts_out[0] = found.sampled;
    counts_out[1] = found.candidates;
    counts_out[2] = found.refused;
    counts_out[3] = found.scored;
  }
  return {bad.query, bad.index};
}

py::tuple search_range(const Rows& queries, const py::object& index, std::string_view metric, double threshold,
                       const OptionalNorms& norms, const OptionalMask& mask, const OptionalOrder& order,
                       std::int64_t self_first, bool check_finite, int workers, const py::object& codes,
                       bool accelerate, std::optional<bool> medium) {
  Arguments arguments(queries, index, metric, norms, mask, order, self_first, check_finite, workers, codes, accelerate);
  arguments.request.has_threshold = true;
  arguments.request.threshold = static_cast<float>(threshold);
  arguments.request.medium = medium;
  search::RangeResult result;
  {
    const py::gil_scoped_release release;
    result = search::range_search(arguments.request);
  }
  const auto count = static_cast<py::ssize_t>(result.scores.size());
  return py::make_tuple(result.bad.query, result.bad.index, adopt(std::move(result.offsets)),
                        adopt(result.scores.release(), {count}), adopt(result.rows.release(), {count}));
}

py::tuple search_count(const Rows& queries, const py::object& index, std::string_view metric, double threshold,
                       const OptionalNorms& norms, const OptionalMask& mask, const OptionalOrder& order,
                       std::int64_t self_first, bool check_finite, int workers, const py::object& codes,
                       bool accelerate) {
  Arguments arguments(queries, index, metric, norms, mask, order, self_first, check_finite, workers, codes, accelerate);
  arguments.request.has_threshold = true;
  arguments.request.threshold = static_cast<float>(threshold);
  ContiguousArray<std::int64_t> counts(static_cast<py::ssize_t>(arguments.request.queries.rows));
  std::int64_t* const to = counts.mutable_data();
  search::BadRows bad;
  {
    const py::gil_scoped_release release;
    bad = search::range_count(arguments.request, to);
  }
  return py::make_tuple(bad.query, bad.index, counts);
}

search::Similarity pair_of(const Rows& a, const Rows& b, std::string_view metric, int workers) {
  search::Similarity wanted;
  wanted.a = matrix_of(a, "a");
  wanted.b = matrix_of(b, "b");
  same_depth(wanted.a.depth, wanted.b.depth);
  wanted.metric = metric_of(metric);
  wanted.workers = std::max(workers, 1);
  wanted.tick = &check_signals;
  return wanted;
}

void similarity(const Rows& a, const Rows& b, std::string_view metric, Rows& out, int workers,
                std::optional<bool> split) {
  search::Similarity wanted = pair_of(a, b, metric, workers);
  wanted.split = split;
  const Matrix result = output_of(out);
  if (result.rows != wanted.a.rows || result.depth != wanted.b.rows) {
    throw std::invalid_argument("out must have shape (" + std::to_string(wanted.a.rows) + ", " +
                                std::to_string(wanted.b.rows) + ")");
  }
  wanted.out = out.mutable_data();
  wanted.out_stride = result.stride;
  const py::gil_scoped_release release;
  search::similarity(wanted);
}

void paired_similarity(const Rows& a, const Rows& b, std::string_view metric, ContiguousArray<float>& out,
                       int workers) {
  search::Similarity wanted = pair_of(a, b, metric, workers);
  if (wanted.a.rows != wanted.b.rows) throw std::invalid_argument("a and b must have as many rows");
  const auto result = writable_view_1d(out, "out");
  if (result.size() != wanted.a.rows) throw std::invalid_argument("out must have one element a row");
  wanted.out = result.data();
  const py::gil_scoped_release release;
  search::paired_similarity(wanted);
}

void advise_random_reads(const AnyArray& mapped) {
  support::advise(mapped.data(), static_cast<std::size_t>(mapped.nbytes()), support::ReadOrder::kRandom);
}

ContiguousArray<float> row_norms(const py::object& x, int workers) {
  const search::StoredRows rows = index_rows(x, "x");
  ContiguousArray<float> norms(static_cast<py::ssize_t>(rows.rows));
  float* const to = norms.mutable_data();
  {
    const py::gil_scoped_release release;
    search::row_norms(rows, to, std::max(workers, 1), &check_signals);
  }
  return norms;
}

void normalize_rows(const Rows& x, Rows& out, int workers) {
  const Matrix rows = matrix_of(x, "x");
  const Matrix to = output_of(out);
  if (to.rows != rows.rows || to.depth != rows.depth) throw std::invalid_argument("out must have the shape of x");
  float* const data = out.mutable_data();
  const py::gil_scoped_release release;
  search::normalize_rows(rows, data, to.stride, std::max(workers, 1), &check_signals);
}

ContiguousArray<std::uint8_t> code_buffer(std::size_t bytes) {
  auto memory = support::AlignedBuffer<std::uint8_t>::uninitialised(bytes);
  return adopt(memory.release(), {static_cast<py::ssize_t>(bytes)});
}

// Bits of the elements of a query, for as many as are asked at once.
int code_query_bits(std::size_t queries, std::size_t dim, std::string_view kind) {
  return search::code_query_bits(cpu::kernels(), kind_of(kind), queries <= search::kSingleCodedQueries, dim);
}

// Bits of the elements of rows that these meet first.
int code_row_bits(const IndexCodes& codes, std::size_t queries) {
  return search::code_row_bits(cpu::kernels(), codes.codes(), queries);
}

ContiguousArray<float> sample_mean(const py::object& vectors, std::string_view metric) {
  const search::StoredRows rows = index_rows(vectors, "vectors");
  ContiguousArray<float> mean(static_cast<py::ssize_t>(rows.depth));
  float* const to = mean.mutable_data();
  const Metric by = metric_of(metric);
  const py::gil_scoped_release release;
  search::sample_mean(cpu::kernels(), rows, by, to);
  return mean;
}

void code_rows(const py::object& vectors, const ContiguousArray<float>& norms, std::string_view metric,
               const ContiguousArray<float>& mean, ContiguousArray<std::uint8_t>& codes, ContiguousArray<float>& scales,
               ContiguousArray<float>& lengths, ContiguousArray<float>& errors,
               std::optional<ContiguousArray<float>>& squares, std::size_t first, int workers, std::string_view kind,
               std::optional<CodeParts>& residuals, std::optional<CodeParts>& coarse,
               std::optional<CodeParts>& quarters) {
  const search::StoredRows rows = index_rows(vectors, "vectors");
  const std::size_t end = first + rows.rows;
  const search::CodeSpace space(kind_of(kind), metric_of(metric), view_1d(mean, "mean").size(), mean.data());
  if (space.depth() != rows.depth || rows.rows % kCodeGroup != 0 || first % kCodeGroup != 0 ||
      view_1d(norms, "norms").size() != rows.rows || rows.depth > search::kMostCodeDepth ||
      writable_view_1d(codes, "codes").size() < end * space.stride() + kCodeSlack ||
      writable_view_1d(scales, "scales").size() < end / kCodeGroup ||
      writable_view_1d(lengths, "lengths").size() < end / kCodeGroup ||
      writable_view_1d(errors, "errors").size() < end / kCodeGroup ||
      squares.has_value() != (space.metric() == Metric::kL2) ||
      (squares && writable_view_1d(*squares, "squares").size() < end)) {
    throw std::invalid_argument("codes, scales, lengths, errors or squares do not have the size that vectors ask for");
  }
  check_all_parts(space, end, residuals, coarse, quarters);
  search::CodesOut out{codes.mutable_data(), scales.mutable_data(), lengths.mutable_data(), errors.mutable_data(),
                       squares ? squares->mutable_data() : nullptr};
  if (residuals) {
    out.residuals = std::get<0>(*residuals).mutable_data();  // refuses an array that is read-only
    out.residual_errors = std::get<1>(*residuals).mutable_data();
  }
  if (coarse) {
    out.coarse = std::get<0>(*coarse).mutable_data();
    out.coarse_errors = std::get<1>(*coarse).mutable_data();
  }
  if (quarters) {
    out.quarters = std::get<0>(*quarters).mutable_data();
    out.medium_errors = std::get<1>(*quarters).mutable_data();
  }
  const float* const known = norms.data();
  const py::gil_scoped_release release;
  search::code_index(space, rows, known, out.from(first, space), std::max(workers, 1), &check_signals);
}

void bind_codes(py::module_& m) {
  py::class_<IndexCodes>(m, "IndexCodes")
      .def(py::init<std::string_view, const ContiguousArray<float>&, ContiguousArray<std::uint8_t>,
                    ContiguousArray<float>, ContiguousArray<float>, ContiguousArray<float>, const OptionalNorms&,
                    std::size_t, std::string_view, std::optional<CodeParts>, std::optional<CodeParts>,
                    std::optional<CodeParts>>(),
           py::arg("metric"), py::arg("mean").noconvert(), py::arg("codes").noconvert(), py::arg("scales").noconvert(),
           py::arg("lengths").noconvert(), py::arg("errors").noconvert(), py::arg("squares").noconvert(),
           py::arg("rows"), py::arg("kind") = "int8", py::arg("residuals").noconvert() = py::none(),
           py::arg("coarse").noconvert() = py::none(), py::arg("quarters").noconvert() = py::none());
  m.def("code_buffer", &code_buffer, py::arg("bytes"));
  m.def("code_query_bits", &code_query_bits, py::arg("n_queries"), py::arg("dim"), py::arg("kind") = "int8");
  m.def("code_row_bits", &code_row_bits, py::arg("codes"), py::arg("n_queries"));
  m.def("sample_mean", &sample_mean, py::arg("vectors"), py::arg("metric"));
  m.def("code_rows", &code_rows, py::arg("vectors"), py::arg("norms").noconvert(), py::arg("metric"),
        py::arg("mean").noconvert(), py::arg("codes").noconvert(), py::arg("scales").noconvert(),
        py::arg("lengths").noconvert(), py::arg("errors").noconvert(), py::arg("squares").noconvert(), py::arg("first"),
        py::arg("workers") = 1, py::arg("kind") = "int8", py::arg("residuals").noconvert() = py::none(),
        py::arg("coarse").noconvert() = py::none(), py::arg("quarters").noconvert() = py::none());
}

}  // namespace

void bind_search(py::module_& m) {
  bind_index_rows(m);
  bind_codes(m);
  m.def("search_topk", &search_topk, py::arg("queries").noconvert(), py::arg("index"), py::arg("metric"),
        py::arg("scores_out").noconvert(), py::arg("rows_out").noconvert(), py::arg("norms").noconvert() = py::none(),
        py::arg("mask").noconvert() = py::none(), py::arg("order").noconvert() = py::none(),
        py::arg("threshold") = py::none(), py::arg("self_first") = -1, py::arg("check_finite") = true,
        py::arg("workers") = 1, py::arg("codes") = py::none(), py::arg("accelerate") = true,
        py::arg("counts").noconvert() = py::none(), py::arg("medium") = py::none());
  m.def("search_range", &search_range, py::arg("queries").noconvert(), py::arg("index"), py::arg("metric"),
        py::arg("threshold"), py::kw_only(), py::arg("norms").noconvert() = py::none(),
        py::arg("mask").noconvert() = py::none(), py::arg("order").noconvert() = py::none(), py::arg("self_first") = -1,
        py::arg("check_finite") = true, py::arg("workers") = 1, py::arg("codes") = py::none(),
        py::arg("accelerate") = true, py::arg("medium") = py::none());
  m.def("search_count", &search_count, py::arg("queries").noconvert(), py::arg("index"), py::arg("metric"),
        py::arg("threshold"), py::kw_only(), py::arg("norms").noconvert() = py::none(),
        py::arg("mask").noconvert() = py::none(), py::arg("order").noconvert() = py::none(), py::arg("self_first") = -1,
        py::arg("check_finite") = true, py::arg("workers") = 1, py::arg("codes") = py::none(),
        py::arg("accelerate") = true);
  m.def("similarity", &similarity, py::arg("a").noconvert(), py::arg("b").noconvert(), py::arg("metric"),
        py::arg("out").noconvert(), py::arg("workers") = 1, py::arg("split") = py::none());
  m.def("paired_similarity", &paired_similarity, py::arg("a").noconvert(), py::arg("b").noconvert(), py::arg("metric"),
        py::arg("out").noconvert(), py::arg("workers") = 1);
  m.def("advise_random_reads", &advise_random_reads, py::arg("mapped").noconvert());
  m.def("row_norms", &row_norms, py::arg("x"), py::arg("workers") = 1);
  m.def("normalize_rows", &normalize_rows, py::arg("x").noconvert(), py::arg("out").noconvert(),
        py::arg("workers") = 1);
}

}  // namespace fastembed::bindings
