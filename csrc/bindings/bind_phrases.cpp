// Phrases for Python: counting them over an encoded corpus, and joining them in a text.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>

#include "bindings/arrays.hpp"
#include "bindings/bind.hpp"
#include "train/phrase_counter.hpp"
#include "train/phrase_joiner.hpp"

namespace fastembed::bindings {

namespace {

py::tuple count_phrases(const ContiguousArray<std::int32_t>& ids, const ContiguousArray<std::int64_t>& offsets,
                        const ContiguousArray<std::int64_t>& counts, std::uint64_t train_words, std::uint64_t min_count,
                        double threshold, int workers, std::uint64_t memory_budget, std::size_t chunk_tokens) {
  const auto id_view = view_1d(ids, "ids");
  const auto offset_view = view_1d(offsets, "offsets");
  const auto count_view = view_1d(counts, "counts");
  train::PhraseOptions options;
  options.train_words = train_words;
  options.min_count = min_count;
  options.threshold = threshold;
  options.workers = workers;
  options.memory_budget = memory_budget;
  options.chunk_tokens = chunk_tokens;
  std::vector<std::int32_t> first;
  std::vector<std::int32_t> second;
  std::vector<std::int64_t> pair_counts;
  std::vector<double> scores;
  {
    const py::gil_scoped_release release;
    for (const auto& phrase : train::count_phrases(id_view, offset_view, count_view, options, &check_signals)) {
      first.push_back(phrase.first);
      second.push_back(phrase.second);
      pair_counts.push_back(phrase.count);
      scores.push_back(phrase.score);
    }
  }
  return py::make_tuple(adopt(std::move(first)), adopt(std::move(second)), adopt(std::move(pair_counts)),
                        adopt(std::move(scores)));
}

std::shared_ptr<train::PhraseBook> make_book(const std::vector<std::string>& words,
                                             const ContiguousArray<std::int32_t>& first,
                                             const ContiguousArray<std::int32_t>& second,
                                             const std::string& delimiter) {
  return std::make_shared<train::PhraseBook>(words, view_1d(first, "first"), view_1d(second, "second"), delimiter);
}

py::bytes feed(train::PhraseStream& stream, const py::bytes& block, bool last) {
  char* data = nullptr;
  py::ssize_t size = 0;
  if (PyBytes_AsStringAndSize(block.ptr(), &data, &size) != 0) throw py::error_already_set();
  const std::span<const std::uint8_t> view(reinterpret_cast<const std::uint8_t*>(data), static_cast<std::size_t>(size));
  std::vector<std::string> pieces;
  {
    const py::gil_scoped_release release;
    pieces = stream.feed(view, last, &check_signals);
  }
  std::size_t total = 0;
  for (const auto& piece : pieces) total += piece.size();
  auto joined = py::reinterpret_steal<py::bytes>(PyBytes_FromStringAndSize(nullptr, static_cast<py::ssize_t>(total)));
  if (!joined) throw py::error_already_set();
  char* to = PyBytes_AS_STRING(joined.ptr());
  for (const auto& piece : pieces) {
    to = std::copy(piece.begin(), piece.end(), to);
  }
  return joined;
}

}  // namespace

void bind_phrases(py::module_& m) {
  m.def("count_phrases", &count_phrases, py::kw_only(), py::arg("ids").noconvert(), py::arg("offsets").noconvert(),
        py::arg("counts").noconvert(), py::arg("train_words"), py::arg("min_count"), py::arg("threshold"),
        py::arg("workers"), py::arg("memory_budget"), py::arg("chunk_tokens") = train::PhraseOptions{}.chunk_tokens);
  py::class_<train::PhraseBook, std::shared_ptr<train::PhraseBook>>(m, "PhraseBook")
      .def(py::init(&make_book), py::kw_only(), py::arg("words"), py::arg("first").noconvert(),
           py::arg("second").noconvert(), py::arg("delimiter"));
  py::class_<train::PhraseStream>(m, "PhraseStream")
      .def(py::init([](std::shared_ptr<train::PhraseBook> book, int workers, std::size_t chunk_bytes) {
             return train::PhraseStream(std::move(book), workers, chunk_bytes);
           }),
           py::kw_only(), py::arg("book"), py::arg("workers"), py::arg("chunk_bytes") = std::size_t{1} << 18)
      .def("feed", &feed, py::arg("block"), py::arg("last"));
}

}  // namespace fastembed::bindings
