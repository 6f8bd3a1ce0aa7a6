// CorpusEncoder for Python: arguments become views, the GIL is released once per call, errors become exceptions.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <system_error>

#include "bindings/arrays.hpp"
#include "bindings/bind.hpp"
#include "cpu/dispatch.hpp"
#include "support/cpu_budget.hpp"
#include "train/corpus_encoder.hpp"

namespace fastembed::bindings {

namespace {

using train::CorpusEncoder;

// OSError picks its subclass by the error number: FileNotFoundError, PermissionError and so on.
[[noreturn]] void raise_os_error(const std::system_error& error) {
  const std::string what = error.what();
  const std::string suffix = ": " + error.code().message();
  const std::string name = what.size() > suffix.size() ? what.substr(0, what.size() - suffix.size()) : what;
  PyObject* path = PyUnicode_DecodeFSDefaultAndSize(name.data(), static_cast<py::ssize_t>(name.size()));
  if (path == nullptr) throw py::error_already_set();
  const py::tuple arguments =
      py::make_tuple(error.code().value(), error.code().message(), py::reinterpret_steal<py::object>(path));
  PyErr_SetObject(PyExc_OSError, arguments.ptr());
  throw py::error_already_set();
}

[[noreturn]] void raise_decode_error(const train::InvalidUtf8& error) {
  const py::bytes bytes(error.bytes());
  const py::object exception = py::reinterpret_borrow<py::object>(PyExc_UnicodeDecodeError)(
      "utf-8", bytes, 0, error.bytes().size(), std::string(error.what()));
  PyErr_SetObject(PyExc_UnicodeDecodeError, exception.ptr());
  throw py::error_already_set();
}

template <class Work>
auto without_gil(const Work& work) {
  try {
    const py::gil_scoped_release release;
    return work();
  } catch (const train::InvalidUtf8& error) {
    raise_decode_error(error);
  } catch (const std::system_error& error) {
    raise_os_error(error);
  }
}

// Signals, then the caller's function with the number of bytes encoded so far.
train::Tick make_tick(const CorpusEncoder& encoder, const py::object& on_progress) {
  if (on_progress.is_none()) return &check_signals;
  return [&encoder, &on_progress] {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    on_progress(encoder.bytes_done());
  };
}

std::unique_ptr<CorpusEncoder> make_encoder(std::optional<int> workers, const std::string& errors,
                                            std::uint64_t max_vocab_size, std::uint64_t memory_budget,
                                            const std::string& spool_directory, std::size_t chunk_bytes,
                                            std::size_t chunks_per_round, bool break_at_dropped) {
  train::CorpusOptions options;
  options.workers = workers ? *workers : support::default_worker_count();
  options.errors = train::parse_utf8_errors(errors);
  options.max_vocab_size = max_vocab_size;
  options.memory_budget = memory_budget;
  options.spool_directory = spool_directory;
  options.chunk_bytes = chunk_bytes;
  options.chunks_per_round = chunks_per_round;
  options.break_at_dropped = break_at_dropped;
  return std::make_unique<CorpusEncoder>(std::move(options));
}

// Paths come as bytes, in the file system's own encoding.
void add_files(CorpusEncoder& encoder, const std::vector<py::bytes>& paths_as_bytes, const py::object& on_progress) {
  const std::vector<std::string> paths(paths_as_bytes.begin(), paths_as_bytes.end());
  const auto tick = make_tick(encoder, on_progress);
  without_gil([&] { encoder.add_files(paths, tick); });
}

class BufferView {
 public:
  explicit BufferView(const py::object& object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) throw py::error_already_set();
  }
  ~BufferView() { PyBuffer_Release(&view_); }
  BufferView(const BufferView&) = delete;
  BufferView& operator=(const BufferView&) = delete;
  [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept {
    return {static_cast<const std::uint8_t*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

void add_bytes(CorpusEncoder& encoder, const py::object& block, const std::string& source, bool last,
               const py::object& on_progress) {
  const BufferView view(block);
  const auto tick = make_tick(encoder, on_progress);
  without_gil([&] { encoder.add_bytes(view.bytes(), source, last, tick); });
}

std::string type_name(const py::handle& object) { return Py_TYPE(object.ptr())->tp_name; }

// One sentence's tokens as a tuple that nobody else can change, so that the strings outlive the work without the GIL.
py::object snapshot_sentence(const py::handle& sentence, std::uint64_t index) {
  const std::string which = "sentence " + std::to_string(index);
  if (PyUnicode_Check(sentence.ptr()) || PyBytes_Check(sentence.ptr()) || PyByteArray_Check(sentence.ptr())) {
    throw py::type_error(which + " is a " + type_name(sentence) + "; a sentence must be a list of str tokens" +
                         (PyUnicode_Check(sentence.ptr()) ? ": split it first, for example with str.split()" : ""));
  }
  if (PyDict_Check(sentence.ptr())) throw py::type_error(which + " is a dict; a sentence must be a list of str tokens");
  PyObject* tokens = PySequence_Tuple(sentence.ptr());
  if (tokens != nullptr) return py::reinterpret_steal<py::object>(tokens);
  if (PyErr_ExceptionMatches(PyExc_TypeError) != 0 && Py_TYPE(sentence.ptr())->tp_iter == nullptr &&
      PySequence_Check(sentence.ptr()) == 0) {
    PyErr_Clear();
    throw py::type_error(which + " is a " + type_name(sentence) + "; a sentence must be a list of str tokens");
  }
  throw py::error_already_set();
}

std::string_view utf8_of(PyObject* token, std::size_t position, std::uint64_t sentence) {
  const auto place = [&] { return "token " + std::to_string(position) + " of sentence " + std::to_string(sentence); };
  if (!PyUnicode_Check(token)) throw py::type_error(place() + " is a " + type_name(token) + "; tokens must be str");
  py::ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(token, &size);
  if (text == nullptr) {
    py::raise_from(PyExc_ValueError, (place() + " has no UTF-8 form").c_str());
    throw py::error_already_set();
  }
  return {text, static_cast<std::size_t>(size)};
}

// Takes sentences until they hold max_tokens tokens. Each is copied before the next one is asked for: an iterator may
// hand out the same list again and again. Returns whether there may be more.
bool add_tokens(CorpusEncoder& encoder, const py::iterator& sentences, std::size_t max_tokens) {
  std::vector<py::object> kept;
  std::vector<std::string_view> tokens;
  std::vector<std::uint64_t> sentence_ends;
  bool more = true;
  while (tokens.size() < max_tokens && sentence_ends.size() < max_tokens) {
    const auto item = py::reinterpret_steal<py::object>(PyIter_Next(sentences.ptr()));
    if (!item) {
      if (PyErr_Occurred() != nullptr) throw py::error_already_set();
      more = false;
      break;
    }
    const std::uint64_t index = encoder.sentences_given() + sentence_ends.size();
    kept.push_back(snapshot_sentence(item, index));
    PyObject* sentence = kept.back().ptr();
    const auto length = static_cast<std::size_t>(PyTuple_GET_SIZE(sentence));
    for (std::size_t i = 0; i < length; ++i) {
      tokens.push_back(utf8_of(PyTuple_GET_ITEM(sentence, static_cast<py::ssize_t>(i)), i, index));
    }
    sentence_ends.push_back(tokens.size());
  }
  without_gil([&] { encoder.add_tokens(tokens, sentence_ends, &check_signals); });
  return more;
}

template <class Integer>
void add_integers(CorpusEncoder& encoder, const ContiguousArray<Integer>& ids,
                  const ContiguousArray<std::int64_t>& offsets) {
  const auto id_view = view_1d(ids, "ids");
  const auto offset_view = view_1d(offsets, "offsets");
  without_gil([&] { encoder.add_integers(id_view, offset_view, &check_signals); });
}

py::list words_of(const train::EncodedCorpus& corpus) {
  py::list words(corpus.word_ends.size());
  std::size_t begin = 0;
  for (std::size_t i = 0; i < corpus.word_ends.size(); ++i) {
    const std::size_t end = corpus.word_ends[i];
    // Known words may hold lone surrogates, tokens cannot.
    PyObject* word =
        PyUnicode_DecodeUTF8(corpus.words.data() + begin, static_cast<py::ssize_t>(end - begin), "surrogatepass");
    if (word == nullptr) throw py::error_already_set();
    PyList_SET_ITEM(words.ptr(), static_cast<py::ssize_t>(i), word);
    begin = end;
  }
  return words;
}

train::KnownWords make_known_words(const py::list& words, const ContiguousArray<std::int64_t>& counts) {
  std::string bytes;
  std::vector<std::size_t> ends;
  ends.reserve(words.size());
  for (const py::handle word : words) {
    const auto encoded =
        py::reinterpret_steal<py::object>(PyUnicode_AsEncodedString(word.ptr(), "utf-8", "surrogatepass"));
    if (!encoded) throw py::error_already_set();
    bytes.append(PyBytes_AS_STRING(encoded.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(encoded.ptr())));
    ends.push_back(bytes.size());
  }
  const auto view = view_1d(counts, "known_counts");
  return {std::move(bytes), std::move(ends), {view.begin(), view.end()}};
}

py::tuple finish(CorpusEncoder& encoder, std::uint64_t min_count, std::optional<std::uint64_t> max_final_vocab,
                 const py::list& known_words, const std::optional<ContiguousArray<std::int64_t>>& known_counts) {
  const std::uint64_t limit = max_final_vocab.value_or(std::numeric_limits<std::uint64_t>::max());
  const auto known = make_known_words(known_words, known_counts.value_or(ContiguousArray<std::int64_t>(0)));
  auto corpus = without_gil([&] { return encoder.finish(min_count, limit, known, &check_signals); });
  py::dict stats;
  stats["raw_tokens"] = corpus.stats.raw_tokens;
  stats["kept_tokens"] = corpus.stats.kept_tokens;
  stats["bytes"] = corpus.stats.bytes;
  stats["distinct_words"] = corpus.stats.distinct_tokens;
  stats["long_tokens"] = corpus.stats.long_tokens;
  stats["repaired_tokens"] = corpus.stats.repaired_tokens;
  stats["prune_count"] = corpus.stats.prune_count;
  stats["pruned_words"] = corpus.stats.pruned_words;
  stats["effective_min_count"] = corpus.stats.effective_min_count;
  stats["spooled_bytes"] = corpus.stats.spooled_bytes;
  py::list words = words_of(corpus);
  return py::make_tuple(std::move(words), adopt(std::move(corpus.counts)),
                        adopt_from<std::int32_t>(std::move(corpus.ids), corpus.id_count),
                        adopt_from<std::int64_t>(std::move(corpus.offsets), corpus.sentence_count + 1),
                        std::move(stats));
}

// For the test of the kernel on every instruction set; `pieces` cuts the text into calls of so many blocks.
py::tuple kernel_token_edges(const std::string& isa, const py::object& text, std::size_t piece_blocks) {
  const BufferView view(text);
  const auto bytes = view.bytes();
  if (bytes.size() % 64 != 0) throw std::invalid_argument("text must be a multiple of 64 bytes");
  if (piece_blocks < 1) throw std::invalid_argument("piece_blocks must be at least 1");
  std::vector<std::uint32_t> edges(bytes.size() + 8);
  TokenEdges found{edges.data(), 0, 0, 0, 0};
  const KernelTable& kernels = cpu::kernels_of(isa);
  const std::size_t blocks = bytes.size() / 64;
  for (std::size_t block = 0; block < blocks; block += piece_blocks) {
    kernels.token_edges_u8(bytes.data() + 64 * block, std::min(piece_blocks, blocks - block),
                           static_cast<std::uint32_t>(64 * block), found);
  }
  edges.resize(found.edge_count);
  return py::make_tuple(adopt(std::move(edges)), found.in_token != 0, found.leading_newline != 0);
}

}  // namespace

void bind_corpus(py::module_& m) {
  py::class_<CorpusEncoder>(m, "CorpusEncoder")
      .def(py::init(&make_encoder), py::kw_only(), py::arg("workers") = py::none(), py::arg("errors") = "strict",
           py::arg("max_vocab_size") = train::CorpusOptions{}.max_vocab_size,
           py::arg("memory_budget") = train::CorpusOptions{}.memory_budget, py::arg("spool_directory") = "/tmp",
           py::arg("chunk_bytes") = train::CorpusOptions{}.chunk_bytes,
           py::arg("chunks_per_round") = train::CorpusOptions{}.chunks_per_round, py::arg("break_at_dropped") = false)
      .def("add_files", &add_files, py::arg("paths"), py::arg("on_progress") = py::none())
      .def("add_bytes", &add_bytes, py::arg("block"), py::arg("source"), py::arg("last"),
           py::arg("on_progress") = py::none())
      .def("add_tokens", &add_tokens, py::arg("sentences"), py::arg("max_tokens"))
      .def("add_integers", &add_integers<std::int32_t>, py::arg("ids").noconvert(), py::arg("offsets").noconvert())
      .def("add_integers", &add_integers<std::int64_t>, py::arg("ids").noconvert(), py::arg("offsets").noconvert())
      .def("add_integers", &add_integers<std::uint32_t>, py::arg("ids").noconvert(), py::arg("offsets").noconvert())
      .def("add_integers", &add_integers<std::uint64_t>, py::arg("ids").noconvert(), py::arg("offsets").noconvert())
      .def("finish", &finish, py::arg("min_count"), py::arg("max_final_vocab") = py::none(),
           py::arg("known_words") = py::list(), py::arg("known_counts").noconvert() = py::none())
      .def_property_readonly("bytes_done", &CorpusEncoder::bytes_done)
      .def_property_readonly("sentences_given", &CorpusEncoder::sentences_given);
  m.def("kernel_token_edges_u8", &kernel_token_edges, py::arg("isa"), py::arg("text"), py::arg("piece_blocks"));
}

}  // namespace fastembed::bindings
