#include "train/model.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/rng.hpp"
#include "support/thread_pool.hpp"
#include "train/half_precision.hpp"

namespace fastembed::train {
namespace {

constexpr std::size_t kLineBytes = 64;

// Those whose rows may be under way with several workers at a time. The rest, rare in any text, need not be moved.
constexpr std::size_t kFrequentWords = std::size_t{1} << 16;

// A row begins at a cache line, so that it touches as few as it can.
std::size_t padded_row_bytes(std::size_t depth, RowFormat format) noexcept {
  const std::size_t bytes = depth * (format == RowFormat::kFloat32 ? sizeof(float) : sizeof(std::uint16_t));
  return (bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
}

}  // namespace

Model::Model(std::size_t word_count, std::size_t vector_size, RowFormat format)
    : word_count_(word_count),
      vector_size_(vector_size),
      format_(format),
      depth_((vector_size + kRowPadding - 1) / kRowPadding * kRowPadding),
      row_bytes_(padded_row_bytes(depth_, format)),
      input_(word_count * row_bytes_),
      output_(word_count * row_bytes_) {}

void Model::initialise(std::uint64_t seed, int workers, const std::function<void()>& tick) {
  const std::uint64_t key = support::stream_key(seed, support::Stream::kInitialVectors, 0);
  std::memset(output_.data(), 0, output_.size());
  const auto share = [&](int worker) { return word_count_ * static_cast<std::size_t>(worker) / workers; };
  support::run_workers(
      workers,
      [&](int worker, const support::StopFlag& stop) {
        std::vector<float> row(vector_size_);
        for (std::size_t word = share(worker); word < share(worker + 1) && !stop.load(); ++word) {
          initialise_row(row.data(), key, word);
          write_row(row.data(), input_.data() + place_of(word) * row_bytes_);
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
  const auto at = [this](Bytes& matrix, std::size_t word) { return matrix.data() + place_of(word) * row_bytes_; };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto word = static_cast<std::size_t>(rows[i]);
    write_row(input + i * vector_size_, at(input_, word));
    if (output != nullptr) write_row(output + i * vector_size_, at(output_, word));
    if (output == nullptr) std::memset(at(output_, word), 0, row_bytes_);
  }
  const std::uint64_t key = support::stream_key(seed, support::Stream::kInitialVectors, 0);
  std::size_t new_word = rows.size();
  std::vector<float> row(vector_size_);
  for (std::size_t word = 0; word < word_count_; ++word) {
    if (given[word]) continue;
    initialise_row(row.data(), key, new_word++);
    write_row(row.data(), at(input_, word));
    std::memset(at(output_, word), 0, row_bytes_);
  }
}

void Model::read_row(const unsigned char* row, float* to) const noexcept {
  if (format_ == RowFormat::kFloat32) {
    std::memcpy(to, row, vector_size_ * sizeof(float));
    return;
  }
  const auto* const halves = reinterpret_cast<const std::uint16_t*>(row);
  for (std::size_t i = 0; i < vector_size_; ++i) {
    to[i] = format_ == RowFormat::kBfloat16 ? from_bfloat16(halves[i]) : from_float16(halves[i]);
  }
}

void Model::write_row(const float* from, unsigned char* row) const noexcept {
  if (format_ == RowFormat::kFloat32) {
    std::memcpy(row, from, vector_size_ * sizeof(float));
    return;
  }
  auto* const halves = reinterpret_cast<std::uint16_t*>(row);
  for (std::size_t i = 0; i < vector_size_; ++i) {
    halves[i] = format_ == RowFormat::kBfloat16 ? to_bfloat16(from[i]) : to_float16(from[i]);
  }
}

void Model::copy_rows(const Bytes& matrix, std::size_t begin, std::size_t end, float* to) const noexcept {
  for (std::size_t word = begin; word < end; ++word, to += vector_size_) {
    read_row(matrix.data() + place_of(word) * row_bytes_, to);
  }
}

void Model::spread(bool wanted) noexcept {
  const std::size_t words = wanted ? kFrequentWords : 0;
  if (words == spread_words_) return;
  exchange_rows(input_);
  exchange_rows(output_);
  spread_words_ = words;
}

// Every second one of the frequent words changes places with one of the rarest, or back.
void Model::exchange_rows(Bytes& matrix) noexcept {
  for (std::size_t word = 1; word < std::min(kFrequentWords, word_count_ / 2); word += 2) {
    unsigned char* const row = matrix.data() + word * row_bytes_;
    std::swap_ranges(row, row + row_bytes_, matrix.data() + (word_count_ - 1 - word) * row_bytes_);
  }
}

float* Model::release_rows(Bytes& matrix) {
  spread(false);
  if (format_ != RowFormat::kFloat32) {
    // The rows that have been converted are given back on the way: the two matrices never exist twice.
    auto floats = support::AlignedBuffer<float>::uninitialised(word_count_ * vector_size_);
    constexpr std::size_t kBlock = 4096;
    for (std::size_t begin = 0; begin < word_count_; begin += kBlock) {
      const std::size_t end = std::min(word_count_, begin + kBlock);
      copy_rows(matrix, begin, end, floats.data() + begin * vector_size_);
      matrix.discard_up_to(end * row_bytes_);
    }
    matrix = Bytes();
    return floats.release();
  }
  // In place: the rows close up over their padding.
  const std::size_t bytes = vector_size_ * sizeof(float);
  for (std::size_t word = 1; word < word_count_; ++word) {
    std::memmove(matrix.data() + word * bytes, matrix.data() + word * row_bytes_, bytes);
  }
  return reinterpret_cast<float*>(matrix.release());
}

}  // namespace fastembed::train
