#include "train/model.hpp"

#include <cstring>

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
  const float scale = 1.0F / static_cast<float>(vector_size_);
  support::run_workers(
      workers,
      [&](int worker, const support::StopFlag& stop) {
        for (std::size_t word = share(worker); word < share(worker + 1) && !stop.load(); ++word) {
          float* row = input_row(word);
          for (std::size_t i = 0; i < vector_size_; ++i) {
            const std::uint64_t random = support::draw(key, word * vector_size_ + i);
            row[i] = (static_cast<float>(random >> 40) * 0x1p-24F - 0.5F) * scale;
          }
        }
      },
      tick);
}

void Model::copy_rows(const support::AlignedBuffer<float>& matrix, float* to) const noexcept {
  for (std::size_t word = 0; word < word_count_; ++word) {
    std::memcpy(to + word * vector_size_, matrix.data() + word * stride_, vector_size_ * sizeof(float));
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
