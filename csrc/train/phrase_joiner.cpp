#include "train/phrase_joiner.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>

#include "cpu/dispatch.hpp"

namespace fastembed::train {
namespace {

constexpr std::size_t kBatch = 64;            // tokens whose slots are fetched at the same time
constexpr std::size_t kWindowBlocks = 64;     // 4 KiB of text between looks at `stop`
constexpr std::uint32_t kLineEnd = 1U << 31;  // in the end of a token, see TokenEdges
constexpr std::size_t kMaxTextBytes = (std::size_t{1} << 31) - 64 * (kWindowBlocks + 1);

using Text = std::span<const std::uint8_t>;

bool is_space(std::uint8_t byte) noexcept { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

std::size_t skip_spaces(Text text, std::size_t at) noexcept {
  while (at < text.size() && is_space(text[at])) ++at;
  return at;
}

std::size_t skip_token(Text text, std::size_t at) noexcept {
  while (at < text.size() && !is_space(text[at])) ++at;
  return at;
}

// Joins one stretch of a text, in order.
class ChunkJoiner {
 public:
  ChunkJoiner(const PhraseBook& book, Text text, std::size_t begin, std::size_t end, std::int32_t open)
      : book_(book), text_(text), end_(end), open_(open), copied_(begin), previous_end_(begin), at_(begin) {
    joined_.reserve(end - begin + (end - begin) / 64);
  }

  void run(const KernelTable& kernels, const support::StopFlag& stop) {
    std::vector<std::uint32_t> edges(64 * kWindowBlocks + 16);
    TokenEdges found{edges.data(), 0, 0, 0, 0};
    while (at_ < end_) {
      if (stop.load(std::memory_order_relaxed)) return;
      find_edges(kernels, found);
      if (found.leading_newline != 0) open_ = PhraseBook::kNone;
      found.leading_newline = 0;
      join(edges.data(), found.edge_count / 2);
      if (found.edge_count % 2 == 1) edges[0] = edges[found.edge_count - 1];
      found.edge_count %= 2;
    }
    if (found.in_token != 0) {
      edges[1] = static_cast<std::uint32_t>(end_);
      join(edges.data(), 1);
    }
    append(end_);
  }

  [[nodiscard]] std::int32_t open() const noexcept { return open_; }
  [[nodiscard]] std::string take() noexcept { return std::move(joined_); }

 private:
  void find_edges(const KernelTable& kernels, TokenEdges& found) noexcept {
    const auto position = static_cast<std::uint32_t>(at_);
    const std::size_t left = end_ - at_;
    if (const std::size_t blocks = std::min(left / 64, kWindowBlocks); blocks > 0) {
      kernels.token_edges_u8(text_.data() + at_, blocks, position, found);
      at_ += 64 * blocks;
      return;
    }
    // The last bytes in a block of their own, filled up so that nothing changes after them.
    std::uint8_t block[64];
    std::memset(block, is_space(text_[end_ - 1]) ? ' ' : 'x', sizeof block);
    std::memcpy(block, text_.data() + at_, left);
    kernels.token_edges_u8(block, 1, position, found);
    at_ = end_;
  }

  void join(const std::uint32_t* edges, std::size_t tokens) {
    TokenKey keys[kBatch];
    for (std::size_t first = 0; first < tokens; first += kBatch) {
      const std::size_t count = std::min(kBatch, tokens - first);
      for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t start = edges[2 * (first + i)];
        const std::uint32_t size = (edges[2 * (first + i) + 1] & ~kLineEnd) - start;
        keys[i] = make_token_key(text_.data() + start, size, text_.size() - start);
        book_.prefetch(keys[i]);
      }
      for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t end = edges[2 * (first + i) + 1];
        take_token(edges[2 * (first + i)], end & ~kLineEnd, book_.id_of(keys[i]));
        if ((end & kLineEnd) != 0) open_ = PhraseBook::kNone;
      }
    }
  }

  void take_token(std::size_t start, std::size_t end, std::int32_t id) {
    if (book_.is_phrase(open_, id)) {
      append(previous_end_);
      joined_ += book_.delimiter();
      copied_ = start;
      open_ = PhraseBook::kNone;
    } else {
      open_ = id;
    }
    previous_end_ = end;
  }

  void append(std::size_t end) {
    joined_.append(reinterpret_cast<const char*>(text_.data()) + copied_, end - copied_);
    copied_ = end;
  }

  const PhraseBook& book_;
  Text text_;
  std::size_t end_;
  std::int32_t open_;
  std::size_t copied_;        // everything before is in joined_
  std::size_t previous_end_;  // of the token before
  std::size_t at_;
  std::string joined_;
};

std::int32_t id_at(const PhraseBook& book, Text text, std::size_t start, std::size_t end) noexcept {
  return book.id_of(make_token_key(text.data() + start, end - start, text.size() - start));
}

// The first start of a token at or after `from`, or the end, that no join can reach across. `from` is above 0.
std::size_t find_cut(const PhraseBook& book, Text text, std::size_t from) noexcept {
  std::size_t start = from;
  if (!is_space(text[from - 1])) start = skip_token(text, start);
  start = skip_spaces(text, start);
  // The token before, of which this one may be the second half.
  std::size_t before_end = start;
  while (before_end > 0 && is_space(text[before_end - 1])) --before_end;
  std::size_t before = before_end;
  while (before > 0 && !is_space(text[before - 1])) --before;
  std::int32_t previous = id_at(book, text, before, before_end);
  while (start < text.size()) {
    const std::size_t end = skip_token(text, start);
    const std::int32_t id = id_at(book, text, start, end);
    const bool new_line = std::find(text.begin() + static_cast<std::ptrdiff_t>(before_end),
                                    text.begin() + static_cast<std::ptrdiff_t>(start),
                                    '\n') != text.begin() + static_cast<std::ptrdiff_t>(start);
    // Without a token before in this text there is one in the text before, which is not asked here.
    if (before_end > 0 && (new_line || !book.is_phrase(previous, id))) return start;
    previous = id;
    before_end = end;
    start = skip_spaces(text, end);
  }
  return text.size();
}

}  // namespace

PhraseBook::PhraseBook(const std::vector<std::string>& words, std::span<const std::int32_t> first,
                       std::span<const std::int32_t> second, std::string delimiter)
    : starts_phrase_(words.size()), delimiter_(std::move(delimiter)) {
  if (first.size() != second.size()) throw std::invalid_argument("first and second must be equally long");
  words_.reserve(words.size());
  for (const std::string& word : words) {
    const TokenKey key = make_token_key(word);
    TokenTable::Slot& slot = words_.find(key);
    if (slot.count != 0) throw std::invalid_argument("words must be distinct");
    words_.insert(slot, key, 1);
  }
  const auto check = [&](std::int32_t id) {
    if (id < 0 || static_cast<std::size_t>(id) >= words.size()) throw std::invalid_argument("there is no such word");
  };
  for (std::size_t i = 0; i < first.size(); ++i) {
    check(first[i]);
    check(second[i]);
    starts_phrase_[static_cast<std::size_t>(first[i])] = 1;
    const PairKey key = make_pair_key(first[i], second[i]);
    pairs_.add(key, hash_pair(key));
  }
}

PhraseStream::PhraseStream(std::shared_ptr<const PhraseBook> book, int workers, std::size_t chunk_bytes)
    : book_(std::move(book)), workers_(workers), chunk_bytes_(std::max<std::size_t>(1, chunk_bytes)) {
  if (workers < 1) throw std::invalid_argument("workers must be at least 1");
}

std::vector<std::size_t> PhraseStream::cut(std::span<const std::uint8_t> text) const {
  std::vector<std::size_t> cuts{0};
  for (std::size_t from = chunk_bytes_; from < text.size(); from += chunk_bytes_) {
    // A cut beyond this place is that of the next ones, too.
    if (from > cuts.back()) cuts.push_back(find_cut(*book_, text, from));
  }
  if (cuts.back() < text.size()) cuts.push_back(text.size());
  return cuts;
}

std::vector<std::string> PhraseStream::feed(std::span<const std::uint8_t> block, bool last,
                                            const std::function<void()>& tick) {
  const bool carried = !carry_.empty();
  if (carried) carry_.insert(carry_.end(), block.begin(), block.end());
  const Text all = carried ? Text(carry_) : Text(block);
  if (all.size() > kMaxTextBytes) throw std::length_error("a block, or a single token, of 2 GiB and more");
  std::size_t end = all.size();
  if (!last) {
    while (end > 0 && !is_space(all[end - 1])) --end;
    while (end > 0 && is_space(all[end - 1])) --end;
  }
  const Text text = all.first(end);
  const std::vector<std::size_t> cuts = cut(text);
  const std::size_t chunk_count = cuts.size() - 1;
  std::vector<std::string> pieces(chunk_count);
  std::int32_t open = open_;
  if (chunk_count > 0) {
    const KernelTable& kernels = cpu::kernels();
    std::atomic<std::size_t> next{0};
    support::run_workers(
        static_cast<int>(std::min(static_cast<std::size_t>(workers_), chunk_count)),
        [&](int, const support::StopFlag& stop) {
          for (std::size_t i = next++; i < chunk_count && !stop.load(); i = next++) {
            ChunkJoiner joiner(*book_, text, cuts[i], cuts[i + 1], i == 0 ? open_ : PhraseBook::kNone);
            joiner.run(kernels, stop);
            pieces[i] = joiner.take();
            if (i + 1 == chunk_count) open = joiner.open();
          }
        },
        tick);
  }
  open_ = last ? PhraseBook::kNone : open;
  std::vector<std::uint8_t> rest;
  if (!last) rest.assign(all.begin() + static_cast<std::ptrdiff_t>(end), all.end());
  carry_ = std::move(rest);
  return pieces;
}

}  // namespace fastembed::train
