// The two matrices of word2vec, rows padded with zeros for the kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "support/aligned_buffer.hpp"

namespace fastembed::train {

/// `input_vectors` (word2vec.c: syn0) and `output_vectors` (syn1neg), row-major float32.
class Model {
 public:
  Model(std::size_t word_count, std::size_t vector_size);

  /// input_vectors uniform in +-0.5 / vector_size from the initial-vectors stream; output_vectors zero.
  void initialise(std::uint64_t seed, int workers, const std::function<void()>& tick);

  /// Row rows[i] gets the i-th of the given rows (word_count x vector_size floats; no `output`: zeros). The other rows
  /// are those of new words: the k-th gets the initial values that belong to word rows.size() + k, so that no two words
  /// of a vocabulary that grew with one seed ever start from the same values. Throws std::invalid_argument, with
  /// nothing changed, when a row is out of range or given twice.
  void continue_from(std::uint64_t seed, std::span<const std::int32_t> rows, const float* input, const float* output);

  [[nodiscard]] float* input_row(std::size_t word) noexcept { return input_.data() + word * stride_; }
  [[nodiscard]] float* output_row(std::size_t word) noexcept { return output_.data() + word * stride_; }
  [[nodiscard]] std::size_t word_count() const noexcept { return word_count_; }
  [[nodiscard]] std::size_t vector_size() const noexcept { return vector_size_; }
  [[nodiscard]] std::size_t row_stride_elements() const noexcept { return stride_; }

  /// Copies the rows begin .. end-1 without padding to `to`, (end - begin) * vector_size floats.
  void copy_input(std::size_t begin, std::size_t end, float* to) const noexcept { copy_rows(input_, begin, end, to); }
  void copy_output(std::size_t begin, std::size_t end, float* to) const noexcept { copy_rows(output_, begin, end, to); }

  /// Sets one matrix from unpadded rows.
  void set_input(const float* from) noexcept { set_rows(input_, from); }
  void set_output(const float* from) noexcept { set_rows(output_, from); }

  /// Closes the rows up in place and gives the memory away (free it with std::free); the model is empty afterwards.
  float* release_input() noexcept { return release_rows(input_); }
  float* release_output() noexcept { return release_rows(output_); }

 private:
  void initialise_row(float* row, std::uint64_t key, std::size_t word) const noexcept;
  void copy_rows(const support::AlignedBuffer<float>& matrix, std::size_t begin, std::size_t end,
                 float* to) const noexcept;
  void set_rows(support::AlignedBuffer<float>& matrix, const float* from) noexcept;
  float* release_rows(support::AlignedBuffer<float>& matrix) noexcept;

  std::size_t word_count_;
  std::size_t vector_size_;
  std::size_t stride_;
  support::AlignedBuffer<float> input_;
  support::AlignedBuffer<float> output_;
};

}  // namespace fastembed::train
