// The two matrices of word2vec, rows padded with zeros for the kernels.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "cpu/kernel_table.hpp"
#include "support/aligned_buffer.hpp"

namespace fastembed::train {

/// `input_vectors` (word2vec.c: syn0) and `output_vectors` (syn1neg), row-major; in float32, or in 16 bits for training
/// alone: what goes out is always float32.
class Model {
 public:
  Model(std::size_t word_count, std::size_t vector_size, RowFormat format = RowFormat::kFloat32);

  /// input_vectors uniform in +-0.5 / vector_size from the initial-vectors stream; output_vectors zero.
  void initialise(std::uint64_t seed, int workers, const std::function<void()>& tick);

  /// Row rows[i] gets the i-th of the given rows (word_count x vector_size floats; no `output`: zeros). The other rows
  /// are those of new words: the k-th gets the initial values that belong to word rows.size() + k, so that no two words
  /// of a vocabulary that grew with one seed ever start from the same values. Throws std::invalid_argument, with
  /// nothing changed, when a row is out of range or given twice.
  void continue_from(std::uint64_t seed, std::span<const std::int32_t> rows, const float* input, const float* output);

  /// The rows of both matrices, row_bytes() apart; place_of says which is a word's.
  [[nodiscard]] unsigned char* input_rows() noexcept { return input_.data(); }
  [[nodiscard]] unsigned char* output_rows() noexcept { return output_.data(); }
  [[nodiscard]] std::size_t place_of(std::size_t word) const noexcept {
    const std::size_t opposite = word_count_ - 1 - word, from_end = std::min(word, opposite);
    // All bits or none: half of all branches would be mispredicted.
    const std::size_t changed = 0 - (static_cast<std::size_t>(from_end < spread_words_) & from_end & 1);
    return word ^ ((word ^ opposite) & changed);
  }
  [[nodiscard]] void* input_row(std::size_t word) noexcept { return input_.data() + place_of(word) * row_bytes_; }
  [[nodiscard]] void* output_row(std::size_t word) noexcept { return output_.data() + place_of(word) * row_bytes_; }

  /// Puts rows of rare words between those of frequent ones, or all rows back in the order of words (by frequency). Who
  /// walks through a row has the processor fetch the beginning of the next one as well; if that is the row of a
  /// frequent word, another worker that writes to it must fetch it back. No row may be in use.
  void spread(bool wanted) noexcept;

  [[nodiscard]] std::size_t word_count() const noexcept { return word_count_; }
  [[nodiscard]] std::size_t vector_size() const noexcept { return vector_size_; }
  [[nodiscard]] RowFormat format() const noexcept { return format_; }
  /// Columns of a row with its padding, a multiple of kRowPadding.
  [[nodiscard]] std::size_t depth() const noexcept { return depth_; }
  [[nodiscard]] std::size_t row_bytes() const noexcept { return row_bytes_; }

  /// Copies the rows begin .. end-1 without padding to `to`, (end - begin) * vector_size floats.
  void copy_input(std::size_t begin, std::size_t end, float* to) const noexcept { copy_rows(input_, begin, end, to); }
  void copy_output(std::size_t begin, std::size_t end, float* to) const noexcept { copy_rows(output_, begin, end, to); }

  /// Gives one matrix away as unpadded float32 rows (free it with std::free); it is empty afterwards.
  float* release_input() { return release_rows(input_); }
  float* release_output() { return release_rows(output_); }

 private:
  using Bytes = support::AlignedBuffer<unsigned char>;

  void initialise_row(float* row, std::uint64_t key, std::size_t word) const noexcept;
  void read_row(const unsigned char* row, float* to) const noexcept;
  void write_row(const float* from, unsigned char* row) const noexcept;
  void copy_rows(const Bytes& matrix, std::size_t begin, std::size_t end, float* to) const noexcept;
  float* release_rows(Bytes& matrix);
  void exchange_rows(Bytes& matrix) noexcept;

  std::size_t word_count_;
  std::size_t vector_size_;
  RowFormat format_;
  std::size_t depth_;
  std::size_t row_bytes_;
  std::size_t spread_words_ = 0;  // of so many every second one has changed places with a rare one
  Bytes input_;
  Bytes output_;
};

}  // namespace fastembed::train
