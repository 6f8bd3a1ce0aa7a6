// Binds the trainer: takes NumPy arrays, checks that no id or offset points outside, releases the GIL once per epoch.
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>

#include "bindings/arrays.hpp"
#include "bindings/bind.hpp"
#include "support/cpu_budget.hpp"
#include "train/offsets.hpp"
#include "train/window_trainer.hpp"

namespace fastembed::bindings {
namespace {

using train::Architecture;
using train::EpochPart;
using train::EpochTotals;
using train::Model;
using train::NegativeSharing;
using train::TrainConfig;

void check_corpus(std::span<const std::int32_t> ids, std::span<const std::int64_t> offsets, std::size_t word_count) {
  train::check_offsets(offsets, ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || static_cast<std::size_t>(ids[i]) >= word_count) {
      throw std::invalid_argument("ids[" + std::to_string(i) + "] is " + std::to_string(ids[i]) +
                                  ", outside the vocabulary of " + std::to_string(word_count) + " words");
    }
  }
}

NegativeSharing sharing_named(const std::string& name) {
  if (name == "tile") return NegativeSharing::kTile;
  if (name == "window") return NegativeSharing::kWindow;
  if (name == "pair") return NegativeSharing::kPair;
  throw std::invalid_argument("negative_sharing must be 'tile', 'window' or 'pair', got '" + name + "'");
}

RowFormat format_named(const std::string& name) {
  if (name == "float32") return RowFormat::kFloat32;
  if (name == "bfloat16") return RowFormat::kBfloat16;
  if (name == "float16") return RowFormat::kFloat16;
  throw std::invalid_argument("precision must be 'float32', 'bfloat16' or 'float16', got '" + name + "'");
}

py::dict to_dict(const EpochTotals& totals, float learning_rate) {
  py::dict result;
  result["token_count"] = totals.token_count;
  result["center_count"] = totals.center_count;
  result["positive_count"] = totals.positive_count;
  result["loss"] = totals.loss;
  result["learning_rate"] = learning_rate;
  return result;
}

/// What to_dict gave; `learning_rate` is not needed.
EpochTotals from_dict(const py::dict& given) {
  const EpochTotals totals{given["token_count"].cast<std::int64_t>(), given["center_count"].cast<std::int64_t>(),
                           given["positive_count"].cast<std::int64_t>(), given["loss"].cast<double>()};
  if (totals.token_count < 0 || totals.center_count < 0 || totals.positive_count < 0) {
    throw std::invalid_argument("an epoch's totals must not be negative");
  }
  return totals;
}

// Ticks (of 50 ms) for which workers may go on with their chunks after a signal before they are stopped amid them.
constexpr int kGraceTicks = 2;

/// A signal's exception that waits for the workers to finish their chunks. Every member needs the GIL.
class PendingSignal {
 public:
  /// Throws what a signal handler raised: at once where nobody pauses; else at the second signal or after the grace.
  void check(bool can_pause, const std::function<void()>& pause) {
    const bool raised = PyErr_CheckSignals() != 0;
    if (raised && (!can_pause || error_)) throw py::error_already_set();
    if (raised) {
      try {
        throw py::error_already_set();
      } catch (...) {
        error_ = std::current_exception();
      }
      pause();
    } else if (error_ && --grace_ == 0) {
      rethrow();
    }
  }
  void rethrow() {
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  std::exception_ptr error_;
  int grace_ = kGraceTicks;
};

EpochPart make_part(const std::optional<py::dict>& start, std::optional<double> seconds) {
  EpochPart part;
  if (start) part.start = from_dict(*start);
  // A longer time would overflow the clock.
  if (seconds && *seconds < 1e9) {
    part.deadline = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                                           std::chrono::duration<double>(std::max(*seconds, 0.0)));
  }
  return part;
}

/// Owns the arrays it reads, the model, and the trainer over both.
class Trainer {
 public:
  Trainer(ContiguousArray<std::int32_t> ids, ContiguousArray<std::int64_t> offsets,
          ContiguousArray<std::int64_t> counts, std::size_t vector_size, RowFormat format, const TrainConfig& config,
          std::optional<ContiguousArray<std::int64_t>> corpus_counts)
      : ids_(std::move(ids)),
        offsets_(std::move(offsets)),
        counts_(std::move(counts)),
        corpus_counts_(corpus_counts ? *std::move(corpus_counts) : counts_),
        seed_(config.seed) {
    const auto ids_view = view_1d(ids_, "ids");
    const auto offsets_view = view_1d(offsets_, "offsets");
    const auto counts_view = view_1d(counts_, "counts");
    const auto corpus_counts_view = view_1d(corpus_counts_, "corpus_counts");
    if (corpus_counts_view.size() != counts_view.size()) {
      throw std::invalid_argument("corpus_counts has " + std::to_string(corpus_counts_view.size()) +
                                  " entries but counts has " + std::to_string(counts_view.size()));
    }
    const py::gil_scoped_release release;
    check_corpus(ids_view, offsets_view, counts_view.size());
    if (vector_size == 0) throw std::invalid_argument("vector_size must be at least 1, got 0");
    if (config.window == 0) throw std::invalid_argument("window must be at least 1, got 0");
    if (config.epochs == 0) throw std::invalid_argument("epochs must be at least 1, got 0");
    if (config.max_sentence_length < 1) throw std::invalid_argument("max_sentence_length must be at least 1");
    if (config.negative_sharing != NegativeSharing::kTile && format != RowFormat::kFloat32) {
      throw std::invalid_argument("16-bit precision needs negative_sharing='tile'");
    }
    epochs_ = config.epochs;
    model_ = std::make_unique<Model>(counts_view.size(), vector_size, format);
    model_->initialise(config.seed, support::default_worker_count(), check_signals);
    trainer_ = std::make_unique<train::WindowTrainer>(
        *model_, train::CorpusView{ids_view, offsets_view, corpus_counts_view}, counts_view, config);
  }

  void continue_from(const ContiguousArray<std::int32_t>& rows, const ContiguousArray<float>& vectors,
                     const std::optional<ContiguousArray<float>>& output_vectors) {
    require_model();
    const auto rows_view = view_1d(rows, "rows");
    const float* input = view_rows(vectors, "vectors", rows_view.size(), model_->vector_size());
    const float* output = output_vectors
                              ? view_rows(*output_vectors, "output_vectors", rows_view.size(), model_->vector_size())
                              : nullptr;
    const py::gil_scoped_release release;
    model_->continue_from(seed_, rows_view, input, output);
  }

  py::dict run_epoch(std::uint32_t epoch, int workers, const py::object& on_tick, const std::optional<py::dict>& start,
                     std::optional<double> seconds) {
    require_model();
    if (workers < 1) throw std::invalid_argument("workers must be at least 1, got " + std::to_string(workers));
    if (epoch >= epochs_) throw std::invalid_argument("epoch " + std::to_string(epoch) + " is past the last");
    const EpochPart part = make_part(start, seconds);
    PendingSignal signal;
    const auto tick = [&] {
      const py::gil_scoped_acquire acquire;
      signal.check(seconds.has_value(), [this] { trainer_->pause(); });
      if (!on_tick.is_none()) on_tick(to_dict(trainer_->progress(), current_rate(epoch)));
    };
    paused_ = false;
    {
      const py::gil_scoped_release release;
      trainer_->run_epoch(epoch, workers, tick, part);
    }
    paused_ = true;
    epoch_ = epoch;
    signal.rethrow();
    return to_dict(trainer_->progress(), current_rate(epoch));
  }

  std::size_t round_tiles() const {
    require_model();
    return trainer_->round_tiles();
  }

  int most_workers() const {
    require_model();
    return trainer_->most_workers();
  }

  py::object pause_point() const {
    if (!paused_ || !trainer_) return py::none();
    py::dict point = to_dict(trainer_->progress(), current_rate(epoch_));
    point["epoch"] = epoch_;
    return point;
  }

  /// Rows begin .. end-1 of one matrix, without padding.
  ContiguousArray<float> copy_rows(bool output, std::size_t begin, std::size_t end) const {
    require_model();
    if (begin > end || end > model_->word_count()) {
      throw std::invalid_argument("rows " + std::to_string(begin) + " .. " + std::to_string(end) + " of " +
                                  std::to_string(model_->word_count()) + " were asked for");
    }
    ContiguousArray<float> rows(
        {static_cast<py::ssize_t>(end - begin), static_cast<py::ssize_t>(model_->vector_size())});
    float* to = rows.mutable_data();
    {
      const py::gil_scoped_release release;
      output ? model_->copy_output(begin, end, to) : model_->copy_input(begin, end, to);
    }
    return rows;
  }

  py::tuple copy_vectors() const {
    require_model();
    const std::vector<py::ssize_t> shape{static_cast<py::ssize_t>(model_->word_count()),
                                         static_cast<py::ssize_t>(model_->vector_size())};
    ContiguousArray<float> input(shape);
    ContiguousArray<float> output(shape);
    float* to_input = input.mutable_data();
    float* to_output = output.mutable_data();
    {
      const py::gil_scoped_release release;
      model_->copy_input(0, model_->word_count(), to_input);
      model_->copy_output(0, model_->word_count(), to_output);
    }
    return py::make_tuple(std::move(input), std::move(output));
  }

  py::tuple take_vectors() {
    require_model();
    const std::vector<py::ssize_t> shape{static_cast<py::ssize_t>(model_->word_count()),
                                         static_cast<py::ssize_t>(model_->vector_size())};
    trainer_.reset();
    const auto model = std::move(model_);
    std::unique_ptr<float, support::FreeDeleter> input_rows;
    std::unique_ptr<float, support::FreeDeleter> output_rows;
    {
      const py::gil_scoped_release release;
      input_rows.reset(model->release_input());
      output_rows.reset(model->release_output());
    }
    auto input = adopt(input_rows.release(), shape);
    auto output = adopt(output_rows.release(), shape);
    return py::make_tuple(std::move(input), std::move(output));
  }

 private:
  void require_model() const {
    if (!trainer_) throw std::runtime_error("the trainer's vectors have been taken");
  }
  float current_rate(std::uint32_t epoch) const {
    return trainer_->learning_rate_at(epoch, trainer_->progress().token_count);
  }

  ContiguousArray<std::int32_t> ids_;
  ContiguousArray<std::int64_t> offsets_;
  ContiguousArray<std::int64_t> counts_;
  ContiguousArray<std::int64_t> corpus_counts_;
  std::uint64_t seed_;
  std::uint32_t epochs_ = 0;
  std::uint32_t epoch_ = 0;  // the last one that paused or ended
  bool paused_ = false;      // between chunks: the vectors are those of the trainer's totals
  std::unique_ptr<Model> model_;
  std::unique_ptr<train::WindowTrainer> trainer_;
};

}  // namespace

void bind_train(py::module_& m) {
  py::class_<Trainer>(m, "Trainer")
      .def(py::init([](ContiguousArray<std::int32_t> ids, ContiguousArray<std::int64_t> offsets,
                       ContiguousArray<std::int64_t> counts, std::size_t vector_size, bool sg,
                       const std::string& negative_sharing, bool cbow_mean, bool shrink_windows, std::uint32_t window,
                       std::uint32_t negative, std::uint32_t epochs, double alpha, double min_alpha, double sample,
                       double ns_exponent, std::uint64_t seed, std::int64_t max_sentence_length,
                       const std::string& precision, std::optional<ContiguousArray<std::int64_t>> corpus_counts,
                       bool deterministic) {
             const TrainConfig config{
                 .architecture = sg ? Architecture::kSkipGram : Architecture::kCbow,
                 .negative_sharing = sharing_named(negative_sharing),
                 .deterministic = deterministic,
                 .cbow_mean = cbow_mean,
                 .shrink_windows = shrink_windows,
                 .window = window,
                 .negative = negative,
                 .epochs = epochs,
                 .alpha = alpha,
                 .min_alpha = min_alpha,
                 .sample = sample,
                 .ns_exponent = ns_exponent,
                 .seed = seed,
                 .max_sentence_length = max_sentence_length,
             };
             return std::make_unique<Trainer>(std::move(ids), std::move(offsets), std::move(counts), vector_size,
                                              format_named(precision), config, std::move(corpus_counts));
           }),
           py::kw_only(), py::arg("ids").noconvert(), py::arg("offsets").noconvert(), py::arg("counts").noconvert(),
           py::arg("vector_size"), py::arg("sg"), py::arg("negative_sharing"), py::arg("cbow_mean"),
           py::arg("shrink_windows"), py::arg("window"), py::arg("negative"), py::arg("epochs"), py::arg("alpha"),
           py::arg("min_alpha"), py::arg("sample"), py::arg("ns_exponent"), py::arg("seed"),
           py::arg("max_sentence_length"), py::arg("precision") = "float32",
           py::arg("corpus_counts").noconvert() = py::none(), py::arg("deterministic") = false)
      .def("continue_from", &Trainer::continue_from, py::arg("rows").noconvert(), py::arg("vectors").noconvert(),
           py::arg("output_vectors").noconvert() = py::none())
      .def("run_epoch", &Trainer::run_epoch, py::arg("epoch"), py::arg("workers"), py::arg("on_tick") = py::none(),
           py::arg("start") = py::none(), py::arg("seconds") = py::none())
      .def_property_readonly("pause_point", &Trainer::pause_point)
      .def_property_readonly("round_tiles", &Trainer::round_tiles)
      .def_property_readonly("most_workers", &Trainer::most_workers)
      .def("copy_rows", &Trainer::copy_rows, py::arg("output"), py::arg("begin"), py::arg("end"))
      .def("copy_vectors", &Trainer::copy_vectors)
      .def("take_vectors", &Trainer::take_vectors);
}

}  // namespace fastembed::bindings
