#include "train/corpus_encoder.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "cpu/dispatch.hpp"
#include "support/free_memory.hpp"
#include "support/ticker.hpp"
#include "train/mapped_file.hpp"
#include "train/offsets.hpp"

namespace fastembed::train {
namespace {

constexpr std::uint64_t kManyTokens = 1 << 16;  // distinct; fewer leave little behind

bool is_space(std::uint8_t byte) noexcept { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

}  // namespace

class CorpusEncoder::Call {
 public:
  explicit Call(CorpusEncoder& encoder) : encoder_(encoder) {
    State expected = State::kReady;
    if (encoder.state_.compare_exchange_strong(expected, State::kBusy)) return;
    if (expected == State::kBusy) throw std::logic_error("the corpus encoder is in use by another thread");
    if (expected == State::kFailed) throw std::logic_error("the corpus encoder had an error before; make a new one");
    throw std::logic_error("the corpus encoder is finished; make a new one");
  }
  ~Call() { encoder_.state_.store(next_); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  void succeed(State next = State::kReady) noexcept { next_ = next; }

 private:
  CorpusEncoder& encoder_;
  State next_ = State::kFailed;
};

CorpusEncoder::CorpusEncoder(CorpusOptions options)
    : options_(std::move(options)),
      vocabulary_(options_.workers),
      store_(options_.memory_budget, options_.spool_directory) {
  if (options_.workers < 1) throw std::invalid_argument("workers must be at least 1");
  if (options_.max_vocab_size < 1) throw std::invalid_argument("max_vocab_size must be at least 1");
  if (options_.chunks_per_round < 1) throw std::invalid_argument("chunks_per_round must be at least 1");
  // At least 4 bytes, so that a byte order mark is the first piece's; positions in a piece are 31-bit numbers.
  options_.chunk_bytes = std::clamp(options_.chunk_bytes, std::size_t{4}, std::size_t{1} << 30);
  for (int i = 0; i < options_.workers; ++i) {
    workers_.push_back(std::make_unique<ChunkEncoder>(options_.errors, options_.break_at_dropped));
  }
}

// Tables and id maps were allocated by several threads, whose heaps would keep them: 175 MB after 1M words with two
// workers (glibc 2.36), which the matrices that come next cannot use.
CorpusEncoder::~CorpusEncoder() {
  workers_.clear();
  segments_.clear();
  vocabulary_ = SharedVocabulary(1);
  if (stats_.distinct_tokens >= kManyTokens) support::return_free_memory();
}

void CorpusEncoder::store_segment(Segment& segment, int worker) {
  const ChunkEncoder& encoder = *workers_[static_cast<std::size_t>(worker)];
  segment.table = 1 + worker;
  segment.leading_break = encoder.leading_break();
  store_.put(segment, encoder.ids());
}

// The error that is thrown is the first one in the corpus, whoever meets one first: pieces are claimed in order, and
// those before the failed one are finished.
void CorpusEncoder::run_round(std::size_t chunk_count, const EncodeChunk& encode, const Tick& tick) {
  const std::size_t first = segments_.size();
  segments_.resize(first + chunk_count);
  std::atomic<std::size_t> next{0};
  std::atomic<std::size_t> failed{chunk_count};
  std::exception_ptr error;
  std::mutex error_mutex;
  const auto body = [&](int worker, const support::StopFlag& stop) {
    for (std::size_t chunk = next++; chunk < failed.load() && !stop.load(); chunk = next++) {
      try {
        encode(*workers_[static_cast<std::size_t>(worker)], chunk, stop);
        if (!stop.load()) store_segment(segments_[first + chunk], worker);
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (chunk < failed.load()) {
          failed.store(chunk);
          error = std::current_exception();
        }
      }
    }
  };
  support::run_workers(static_cast<int>(std::min<std::size_t>(workers_.size(), chunk_count)), body, tick);
  if (error) std::rethrow_exception(error);
  bound_vocabulary(tick);
}

void CorpusEncoder::run_rounds(std::size_t chunk_count, const EncodeChunk& encode, const Tick& tick) {
  support::Ticker between(tick);
  for (std::size_t first = 0; first < chunk_count; first += options_.chunks_per_round) {
    if (first > 0) between();
    run_round(
        std::min(options_.chunks_per_round, chunk_count - first),
        [&](ChunkEncoder& encoder, std::size_t chunk, const support::StopFlag& stop) {
          encode(encoder, first + chunk, stop);
        },
        tick);
  }
}

void CorpusEncoder::add_files(std::span<const std::string> paths, const Tick& tick) {
  Call call(*this);
  has_texts_ = true;
  const KernelTable& kernels = cpu::kernels();
  struct Piece {
    MappedFile* file;
    std::size_t begin;
  };
  std::vector<std::unique_ptr<MappedFile>> files;  // those of the present round
  std::vector<Piece> pieces;
  const auto encode = [&](ChunkEncoder& encoder, std::size_t chunk, const support::StopFlag& stop) {
    const auto [file, begin] = pieces[chunk];
    const std::size_t end = begin + std::min(options_.chunk_bytes, file->size() - begin);
    encoder.encode({file->bytes(), file->size(), begin, end, 0, end == file->size(), &file->label()}, kernels, stop);
    bytes_done_.fetch_add(end - begin, std::memory_order_relaxed);
  };
  support::Ticker between(tick);
  const auto run = [&] {
    run_round(pieces.size(), encode, tick);
    between();
    pieces.clear();
    files.erase(files.begin(), files.end() - 1);  // the last one may go on
  };
  for (const auto& path : paths) {
    files.push_back(std::make_unique<MappedFile>(path));
    const std::size_t size = files.back()->size();
    for (std::size_t begin = 0; begin < size; begin += options_.chunk_bytes) {
      pieces.push_back({files.back().get(), begin});
      if (pieces.size() == options_.chunks_per_round) run();
    }
  }
  if (!pieces.empty()) run();
  call.succeed();
}

void CorpusEncoder::encode_range(const TextChunk& whole, const Tick& tick) {
  const KernelTable& kernels = cpu::kernels();
  const std::size_t chunks = (whole.end - whole.begin + options_.chunk_bytes - 1) / options_.chunk_bytes;
  run_rounds(
      chunks,
      [&](ChunkEncoder& encoder, std::size_t chunk, const support::StopFlag& stop) {
        TextChunk piece = whole;
        piece.begin = whole.begin + chunk * options_.chunk_bytes;
        piece.end = std::min(whole.end, piece.begin + options_.chunk_bytes);
        piece.ends_source = whole.ends_source && chunk + 1 == chunks;
        encoder.encode(piece, kernels, stop);
        bytes_done_.fetch_add(piece.end - piece.begin, std::memory_order_relaxed);
      },
      tick);
}

// A few bytes, on the calling thread.
void CorpusEncoder::encode_here(const TextChunk& chunk) {
  workers_.front()->encode(chunk, cpu::kernels(), support::StopFlag::never());
  store_segment(segments_.emplace_back(), 0);
}

void CorpusEncoder::carry(std::span<const std::uint8_t> bytes) {
  // Of a token that is too long anyway, no more than shows it.
  const std::size_t room = kMaxTokenBytes + 1 - std::min(carry_.size(), kMaxTokenBytes + 1);
  const auto kept = bytes.first(std::min(bytes.size(), room));
  carry_.insert(carry_.end(), kept.begin(), kept.end());
}

void CorpusEncoder::add_bytes(std::span<const std::uint8_t> block, const std::string& source, bool last,
                              const Tick& tick) {
  Call call(*this);
  has_texts_ = true;
  const std::uint64_t block_offset = stream_offset_;
  stream_offset_ += block.size();
  std::size_t begin = 0;
  if (!carry_.empty()) {
    while (begin < block.size() && !is_space(block[begin])) ++begin;
    carry(block.first(begin));
    if (begin < block.size() || last) {
      encode_here({carry_.data(), carry_.size(), 0, carry_.size(), carry_offset_, false, &source});
      carry_.clear();
    }
    bytes_done_.fetch_add(begin, std::memory_order_relaxed);
  }
  std::size_t end = block.size();
  if (!last) {
    while (end > begin && !is_space(block[end - 1])) --end;
    if (carry_.empty()) carry_offset_ = block_offset + end;
    carry(block.subspan(end));
    bytes_done_.fetch_add(block.size() - end, std::memory_order_relaxed);
  }
  if (end > begin) {
    encode_range({block.data(), end, begin, end, block_offset, last, &source}, tick);
  } else if (last) {
    segments_.emplace_back().leading_break = true;
  }
  if (last) stream_offset_ = 0;
  in_stream_ = !last;
  call.succeed();
}

void CorpusEncoder::add_tokens(std::span<const std::string_view> tokens, std::span<const std::uint64_t> sentence_ends,
                               const Tick& tick) {
  Call call(*this);
  has_texts_ = true;
  const std::size_t chunk_tokens = std::max<std::size_t>(1, options_.chunk_bytes / 8);
  run_rounds((tokens.size() + chunk_tokens - 1) / chunk_tokens,
             [&](ChunkEncoder& encoder, std::size_t chunk, const support::StopFlag& stop) {
               const std::size_t begin = chunk * chunk_tokens;
               encoder.encode(TokenListChunk{tokens, sentence_ends, begin,
                                             std::min(tokens.size(), begin + chunk_tokens), sentences_given_},
                              stop);
             },
             tick);
  sentences_given_ += sentence_ends.size();
  call.succeed();
}

template <class Integer>
void CorpusEncoder::add_integers(std::span<const Integer> ids, std::span<const std::int64_t> offsets,
                                 const Tick& tick) {
  Call call(*this);
  has_integers_ = true;
  check_offsets(offsets, ids.size());
  const std::size_t chunk_ids = std::max<std::size_t>(1, options_.chunk_bytes / 4);
  run_rounds((ids.size() + chunk_ids - 1) / chunk_ids,
             [&](ChunkEncoder& encoder, std::size_t chunk, const support::StopFlag& stop) {
               const std::size_t begin = chunk * chunk_ids;
               encoder.encode(IntegerChunk<Integer>{ids, offsets, begin, std::min(ids.size(), begin + chunk_ids)},
                              stop);
             },
             tick);
  call.succeed();
}

template void CorpusEncoder::add_integers(std::span<const std::int32_t>, std::span<const std::int64_t>, const Tick&);
template void CorpusEncoder::add_integers(std::span<const std::int64_t>, std::span<const std::int64_t>, const Tick&);
template void CorpusEncoder::add_integers(std::span<const std::uint32_t>, std::span<const std::int64_t>, const Tick&);
template void CorpusEncoder::add_integers(std::span<const std::uint64_t>, std::span<const std::int64_t>, const Tick&);

EncodedCorpus CorpusEncoder::finish(std::uint64_t min_count, std::uint64_t max_final_vocab, const KnownWords& known,
                                    const Tick& tick) {
  Call call(*this);
  if (in_stream_) throw std::logic_error("the last source of the corpus is not complete");
  if (has_integers_ && has_texts_) throw std::invalid_argument("a corpus is either of integers or of text, not both");
  EncodedCorpus result = build(min_count, max_final_vocab, known, tick);
  call.succeed(State::kFinished);
  return result;
}

}  // namespace fastembed::train
