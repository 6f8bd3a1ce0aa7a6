// The second half of CorpusEncoder: merging and bounding the vocabulary, and turning segments into the result.
#include <algorithm>
#include <utility>

#include "train/corpus_encoder.hpp"

namespace fastembed::train {
namespace {

constexpr std::uint32_t kIdBits = ~kSentenceEndBit;

// Renames ids in place and closes the gaps of those that are gone, whose sentence ends pass to the token before; with
// `break_at_dropped` each of them ends a sentence.
void rename_ids(Segment& segment, std::span<std::int32_t> ids, const SharedVocabulary::IdMap& new_ids,
                bool break_at_dropped) {
  std::size_t kept = 0;
  for (const std::int32_t id : ids) {
    const auto bits = static_cast<std::uint32_t>(id);
    const std::int32_t renamed = new_ids[bits & kIdBits];
    if (renamed >= 0) {
      ids[kept++] = static_cast<std::int32_t>(static_cast<std::uint32_t>(renamed) | (bits & kSentenceEndBit));
    } else if (break_at_dropped || (bits & kSentenceEndBit) != 0) {
      if (kept == 0) {
        segment.leading_break = true;
      } else {
        ids[kept - 1] |= static_cast<std::int32_t>(kSentenceEndBit);
      }
    }
  }
  segment.length = kept;
  segment.sentence_ends = 0;
  for (const std::int32_t id : ids.first(kept)) segment.sentence_ends += static_cast<std::uint32_t>(id) >> 31;
}

// Where a segment's ids and sentence ends go in the result.
struct Place {
  std::uint64_t first_id;
  std::uint64_t first_end;  // index in `offsets` of the first end that the segment writes
  bool writes_leading_break;
};

struct Layout {
  std::vector<Place> places;
  std::uint64_t id_count = 0;
  std::uint64_t sentence_count = 0;
};

Layout lay_out(std::span<const Segment> segments) {
  Layout layout;
  bool open = false;  // is there a token after the last sentence end?
  for (const Segment& segment : segments) {
    const bool leading_break = segment.leading_break && open;
    layout.places.push_back({layout.id_count, layout.sentence_count + 1, leading_break});
    if (leading_break) open = false;
    layout.id_count += segment.length;
    layout.sentence_count += segment.sentence_ends + (leading_break ? 1 : 0);
    if (segment.length > 0) open = !segment.ends_sentence;
  }
  if (open) ++layout.sentence_count;
  return layout;
}

void copy_segment(std::span<const std::int32_t> from, const Place& place, std::int32_t* ids, std::int64_t* offsets) {
  std::int64_t* next_end = offsets + place.first_end;
  if (place.writes_leading_break) *next_end++ = static_cast<std::int64_t>(place.first_id);
  std::int32_t* to = ids + place.first_id;
  for (std::size_t i = 0; i < from.size(); ++i) {
    to[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(from[i]) & kIdBits);
    if (from[i] < 0) *next_end++ = static_cast<std::int64_t>(place.first_id + i + 1);
  }
}

}  // namespace

void CorpusEncoder::for_each_segment(const std::function<void(std::size_t)>& task, const Tick& tick) {
  if (segments_.empty()) return;
  std::atomic<std::size_t> next{0};
  support::run_workers(
      static_cast<int>(std::min(workers_.size(), segments_.size())),
      [&](int, const support::StopFlag& stop) {
        for (std::size_t i = next++; i < segments_.size() && !stop.load(); i = next++) task(i);
      },
      tick);
}

// Index 0 of the result belongs to the merged vocabulary itself and is empty: its ids stay.
std::vector<SharedVocabulary::IdMap> CorpusEncoder::merge_tables(const Tick& tick) {
  std::vector<TokenTable*> tables;
  tables.reserve(workers_.size());
  for (const auto& worker : workers_) tables.push_back(&worker->table());
  auto new_ids = vocabulary_.absorb(tables, tick);
  new_ids.emplace(new_ids.begin());
  return new_ids;
}

void CorpusEncoder::rename_segments(const std::vector<SharedVocabulary::IdMap>& new_ids, const Tick& tick) {
  for_each_segment(
      [&](std::size_t i) {
        Segment& segment = segments_[i];
        const auto& map = new_ids[static_cast<std::size_t>(segment.table)];
        if (map.empty()) return;
        store_.with_ids(segment, [&](std::span<std::int32_t> ids) {
          rename_ids(segment, ids, map, options_.break_at_dropped);
          segment.ends_sentence = segment.length > 0 && ids[segment.length - 1] < 0;
        });
        segment.table = 0;
      },
      tick);
}

// The decision depends on the exact number of distinct tokens at a fixed place of the corpus, never on how many
// tables they are spread over.
void CorpusEncoder::bound_vocabulary(const Tick& tick) {
  std::size_t held = vocabulary_.size();
  for (const auto& worker : workers_) held += worker->table().size();
  if (held <= options_.max_vocab_size) return;
  rename_segments(merge_tables(tick), tick);
  const std::size_t distinct = vocabulary_.size();
  if (distinct <= options_.max_vocab_size) return;
  std::vector<SharedVocabulary::IdMap> new_ids(1 + workers_.size());
  while (vocabulary_.size() > options_.max_vocab_size) {
    auto step = vocabulary_.prune(min_reduce_++, tick);
    if (new_ids[0].empty()) {
      new_ids[0] = std::move(step);
    } else {
      for (auto& id : new_ids[0]) id = id < 0 ? id : step[static_cast<std::size_t>(id)];
    }
  }
  ++stats_.prune_count;
  stats_.pruned_words += distinct - vocabulary_.size();
  rename_segments(new_ids, tick);
}

EncodedCorpus CorpusEncoder::build(std::uint64_t min_count, std::uint64_t max_final_vocab, const KnownWords& known,
                                   const Tick& tick) {
  EncodedCorpus result;
  auto new_ids = merge_tables(tick);
  auto selection = vocabulary_.select(min_count, max_final_vocab, has_integers_, known, tick);
  stats_.distinct_tokens = vocabulary_.size() + stats_.pruned_words;
  stats_.effective_min_count = selection.effective_min_count;
  for (const auto word : selection.words) {
    result.words += word;
    result.word_ends.push_back(result.words.size());
  }
  result.counts = std::move(selection.counts);
  for (auto& map : new_ids) {
    for (auto& id : map) id = selection.final_ids[static_cast<std::size_t>(id)];
  }
  new_ids[0] = std::move(selection.final_ids);
  vocabulary_ = SharedVocabulary(options_.workers);
  rename_segments(new_ids, tick);
  new_ids.clear();
  gather(result, tick);
  EncoderCounts counts;
  for (const auto& worker : workers_) counts.add(worker->counts());
  stats_.raw_tokens = counts.raw_tokens;
  stats_.long_tokens = counts.long_tokens;
  stats_.repaired_tokens = counts.repaired_tokens;
  stats_.kept_tokens = result.id_count;
  stats_.bytes = bytes_done();
  stats_.spooled_bytes = store_.spooled_bytes();
  result.stats = stats_;
  return result;
}

void CorpusEncoder::gather(EncodedCorpus& result, const Tick& tick) {
  const Layout layout = lay_out(segments_);
  result.id_count = layout.id_count;
  result.sentence_count = layout.sentence_count;
  result.ids = store_.result_pages(layout.id_count * sizeof(std::int32_t));
  result.offsets = store_.result_pages((layout.sentence_count + 1) * sizeof(std::int64_t));
  auto* ids = static_cast<std::int32_t*>(result.ids.data());
  auto* offsets = static_cast<std::int64_t*>(result.offsets.data());
  offsets[layout.sentence_count] = static_cast<std::int64_t>(layout.id_count);
  for_each_segment(
      [&](std::size_t i) {
        Segment& segment = segments_[i];
        store_.with_ids(
            segment, [&](std::span<const std::int32_t> from) { copy_segment(from, layout.places[i], ids, offsets); });
        store_.drop(segment);
      },
      tick);
}

}  // namespace fastembed::train
