#include "train/sorted_words.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "support/thread_pool.hpp"

namespace fastembed::train {
namespace {

constexpr std::size_t kPieceWords = 1 << 14;

struct Stopped {};

// Comparison is where sorting and merging come by, so it is where they can be left.
struct StoppableLess {
  const support::StopFlag& stop;
  bool operator()(const SortedWord& a, const SortedWord& b) const {
    if (stop.load(std::memory_order_relaxed)) throw Stopped{};
    return a < b;
  }
};

template <class Task>
void run_pieces(std::size_t pieces, int workers, const Task& task, const std::function<void()>& tick) {
  std::atomic<std::size_t> next{0};
  support::run_workers(
      static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(workers), pieces)),
      [&](int, const support::StopFlag& stop) {
        try {
          for (std::size_t piece = next++; piece < pieces; piece = next++) task(piece, StoppableLess{stop});
        } catch (const Stopped&) {
          return;  // another worker or the tick has the reason
        }
      },
      tick);
}

}  // namespace

void sort_words(std::vector<SortedWord>& words, int workers, const std::function<void()>& tick) {
  const std::size_t count = words.size();
  if (count == 0) return;
  run_pieces((count + kPieceWords - 1) / kPieceWords, workers,
             [&](std::size_t piece, const StoppableLess& less) {
               const auto first = words.begin() + static_cast<std::ptrdiff_t>(piece * kPieceWords);
               std::sort(first, words.begin() + static_cast<std::ptrdiff_t>(std::min(count, (piece + 1) * kPieceWords)),
                         less);
             },
             tick);
  std::vector<SortedWord> merged(words);
  for (std::size_t width = kPieceWords; width < count; width *= 2) {
    run_pieces((count + 2 * width - 1) / (2 * width), workers,
               [&](std::size_t pair, const StoppableLess& less) {
                 const auto at = [&](std::size_t i) {
                   return words.begin() + static_cast<std::ptrdiff_t>(std::min(count, i));
                 };
                 const std::size_t first = pair * 2 * width;
                 std::merge(at(first), at(first + width), at(first + width), at(first + 2 * width),
                            merged.begin() + static_cast<std::ptrdiff_t>(first), less);
               },
               tick);
    words.swap(merged);
  }
}

}  // namespace fastembed::train
