#include "train/model.hpp"

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/kernel_table.hpp"
#include "support/rng.hpp"
#include "support/thread_pool.hpp"

namespace fastembed::train {

Model::Model(std::size_t word_count, std::size_t vector_size)
    : word_count_(word_count),
      vector_size_(vector_size),
      stride_((vector_size + kRowPadding - 1) / kRowPadding * kRowPadding),
      input_(word_count * stride_),
      output_(word_count * stride_) {}

void Model::initialise(std::uint64_t seed, int workers, const std::function<void()>& tick) {
  const std::uint64_t key = support::stream_key(seed, support::Stream::kInitialVectors, 0);
  std::memset(output_.data(), 0, output_.size() * sizeof(float));
  const auto share = [&](int worker) { return word_count_ * static_cast<std::size_t>(worker) / workers; };
  support::run_workers(
      workers,
      [&](int worker, const support::StopFlag& stop) {
        for (std::size_t word = share(worker); word < share(worker + 1) && !stop.load(); ++word) {
          initialise_row(input_row(word), key, word);
        }
      },
      tick);
}

void Model::initialise_row(float* row, std::uint64_t key, std::size_t word) const noexcept {
  const float scale = 1.0F / static_cast<float>(vector_size_);
  for (std::size_t i = 0; i < vector_size_; ++i) {
    const std::uint64_t random = support::draw(key, word * vector_size_ + i);
    row[i] = (static_cast<float>(random >> 40) * 0x1p-24F - 0.5F) * scale;
  }
}

void Model::continue_from(std::uint64_t seed, std::span<const std::int32_t> rows, const float* input,
                          const float* output) {
  std::vector<bool> given(word_count_);
  for (const std::int32_t row : rows) {
    if (row < 0 || static_cast<std::size_t>(row) >= word_count_ || given[static_cast<std::size_t>(row)]) {
      throw std::invalid_argument("row " + std::to_string(row) + " is given twice or outside the vocabulary of " +
                                  std::to_string(word_count_) + " words");
    }
    given[static_cast<std::size_t>(row)] = true;
  }
  const std::size_t bytes = vector_size_ * sizeof(float);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto word = static_cast<std::size_t>(rows[i]);
    std::memcpy(input_row(word), input + i * vector_size_, bytes);
    if (output != nullptr) std::memcpy(output_row(word), output + i * vector_size_, bytes);
    if (output == nullptr) std::memset(output_row(word), 0, bytes);
  }
  const std::uint64_t key = support::stream_key(seed, support::Stream::kInitialVectors, 0);
  std::size_t new_word = rows.size();
  for (std::size_t word = 0; word < word_count_; ++word) {
    if (given[word]) continue;
    initialise_row(input_row(word), key, new_word++);
    std::memset(output_row(word), 0, bytes);
  }
}

void Model::copy_rows(const support::AlignedBuffer<float>& matrix, std::size_t begin, std::size_t end,
                      float* to) const noexcept {
  for (std::size_t word = begin; word < end; ++word, to += vector_size_) {
    std::memcpy(to, matrix.data() + word * stride_, vector_size_ * sizeof(float));
  }
}

void Model::set_rows(support::AlignedBuffer<float>& matrix, const float* from) noexcept {
  for (std::size_t word = 0; word < word_count_; ++word) {
    std::memcpy(matrix.data() + word * stride_, from + word * vector_size_, vector_size_ * sizeof(float));
  }
}

float* Model::release_rows(support::AlignedBuffer<float>& matrix) noexcept {
  for (std::size_t word = 1; word < word_count_; ++word) {
    std::memmove(matrix.data() + word * vector_size_, matrix.data() + word * stride_, vector_size_ * sizeof(float));
  }
  return matrix.release();
}

}  // namespace fastembed::train
