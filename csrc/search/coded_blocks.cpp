#include "search/coded_blocks.hpp"

#include <algorithm>
#include <cmath>

#include "support/page_advice.hpp"

namespace fastembed::search {
namespace {

// Where making codes on the way takes less than they save: 0.55 ns an element, against kSavedElement a query (Zen 4).
constexpr std::size_t kLeastQueries = 64, kLeastRows = 8192;
// Nanoseconds, of one worker, that a multiply-add of float32 takes longer than one of codes of 8 bits, or of bfloat16,
// and that an element takes longer to come from memory, which is the limit of single queries.
constexpr double kSavedElement = 0.012, kSavedBf16Element = 0.008;
constexpr double kSavedReading = 0.06, kSavedBf16Reading = 0.04;
// Nanoseconds of a candidate where codes cannot tell rows apart: in panels float32 rejects nearly all of them; a single
// query asks the definition, of a row that nobody has fetched.
double doubtful_cost(std::size_t depth, bool single) noexcept {
  return (single ? 80.0 : 20.0) + (single ? 0.25 : 0.1) * static_cast<double>(depth);
}
// What an element of half a byte saves, of a byte; and one of three quarters, of a panel.
constexpr double kSavedCoarseReading = 0.035, kSavedMediumReading = 0.02;
constexpr std::size_t kPartialAfter = 4096;  // rows: before, thresholds that rise are too low
constexpr std::size_t kPartialTrial = 512;   // rows, to see whether they pay
constexpr std::size_t kRareHits = 400;       // of so many products: in every third group of 8 rows by 16 queries
constexpr std::size_t kMostWaiting = 256;    // candidates, while another panel is scanned

}  // namespace

bool codes_on_the_way(const Request& request) noexcept {
  return request.codes == nullptr && request.accelerate && request.queries.rows >= kLeastQueries &&
         request.index.rows >= kLeastRows && request.index.depth >= kLeastCodeDepth &&
         request.index.depth <= kMostCodeDepth;
}

CodedBlocks::CodedBlocks(const KernelTable& kernels, const Request& request, const QueryBatch& batch)
    : kernels_(kernels), request_(request), batch_(batch) {
  if (request.codes != nullptr) {
    space_ = request.codes->space;
    rows_ = request.codes->rows;
  } else {
    std::vector<float> mean(request.index.depth);
    sample_mean(kernels, request.index, request.metric, mean.data());
    own_space_.emplace(CodeKind::kInt8, request.metric, request.index.depth, mean.data());
    space_ = &*own_space_;
    rows_ = request.index.rows / kCodeGroup * kCodeGroup;
  }
  queries_ = std::make_unique<QueryCodes>(kernels, request, *space_, batch);
  if (!queries_->usable()) give_up();
}

// Now all rows are read in order, where a mapped index has told the system that a few would be.
void CodedBlocks::give_up() {
  const StoredRows& rows = request_.index;
  if (!given_up_.exchange(true))
    support::advise(rows.address(0), rows.rows * rows.stride, support::ReadOrder::kAscending);
}

std::unique_ptr<CodedBlocks::Room> CodedBlocks::make_room(std::size_t most_rows) const {
  auto room = std::make_unique<Room>();
  const std::size_t rows = (most_rows + kCodeRows - 1) / kCodeRows * kCodeRows;
  const bool single = batch_.width() == 1;
  if (!single) {
    room->code_hits = support::AlignedBuffer<CodeHit>::uninitialised(rows * batch_.width());
    room->hit_words = support::AlignedBuffer<CodeHits>::uninitialised(rows * batch_.width() / 2 + 1);
  }
  if (!single && queries_->has_partial()) {
    room->widened = support::AlignedBuffer<std::uint8_t>(4 * kMediumStrip * space_->nibble_stride());
  }
  if (sampled_ != 0) room->ramp = rows;
  room->refines = queries_->refines();
  room->thresholds.assign(batch_.panels() * batch_.width(), NAN);
  room->keys.resize(room->thresholds.size());
  room->units.resize(room->thresholds.size());
  if (request_.metric == Metric::kL2) room->row_terms.resize(rows);
  if (single) room->reached.resize(rows);
  if (single && is_int8()) room->products.resize(rows);
  if (single && !is_int8()) room->float_products.resize(rows);
  if (!on_the_way()) return room;
  room->columns = support::AlignedBuffer<float>::uninitialised(kCodeRows * space_->depth());
  room->codes = support::AlignedBuffer<std::uint8_t>(rows * stride() + kCodeSlack);
  room->scales.resize(rows / kCodeGroup);
  room->lengths.resize(rows / kCodeGroup);
  room->errors.resize(rows / kCodeGroup);
  if (request_.metric == Metric::kL2) room->squares.resize(rows);
  return room;
}

void CodedBlocks::scan(const Run& run, Room& room, Collector& collector) {
  CodesIn at;
  if (on_the_way()) {
    const CodesOut out{room.codes.data(), room.scales.data(), room.lengths.data(), room.errors.data(),
                       room.squares.empty() ? nullptr : room.squares.data()};
    code_rows(kernels_, *space_, run.rows, run.norms, room.columns.data(), out);
    at = {out.codes, out.scales, out.lengths, out.errors, out.squares};
  } else {
    at = request_.codes->at.from(run.first, *space_);
  }
  if (!room.row_terms.empty()) {
    for (std::size_t r = 0; r < run.count; ++r) {
      room.row_terms[r] = queries_->row_term(at.squares[r], at.scales[r / kCodeGroup]);
    }
  }
  room.queries = std::min(batch_.size(), run.end_panel * batch_.width()) - run.first_panel * batch_.width();
  for (std::size_t begin = 0; begin < run.count;) {
    std::size_t count = std::min(run.count - begin, room.ramp);
    room.refines &= collector.takes_refined();
    const bool is_partial = reads_partial(room, collector);
    if (is_partial && !room.partial_pays) count = std::min(count, kPartialTrial);
    if (!is_partial && has_medium()) count = std::min(count, piece_rows());
    if (batch_.width() == 1) {
      scan_singles(run, at, begin, count, room, collector);
    } else {
      scan_panels(run, at, begin, count, room, collector);
    }
    begin += count;
    room.met += count;
    if (room.ramp < run.count) room.ramp *= 2;
    if (room.met >= 2 * room.marked && room.met >= 1024) reconsider(room);
  }
}

// The next codes that will be met, behind `count` rows of `from`. Runs that are long for the sake of medium codes are
// met a piece at a time by whole ones.
CodedBlocks::Ahead CodedBlocks::what_follows(const Run& run, const CodesIn& from, std::size_t begin,
                                             std::size_t count) const noexcept {
  if (!has_medium()) return begin == 0 ? Ahead{run.ahead, run.ahead_bytes} : Ahead{};
  const std::size_t rows = std::min(run.count - begin - count, piece_rows());
  if (rows != 0) return {reinterpret_cast<const char*>(from.codes + count * stride()), rows * stride()};
  return {run.ahead, std::min(run.ahead_bytes, piece_rows() * stride())};
}

// Candidates of a panel are taken when the next one has been scanned, which has fetched their rows.
void CodedBlocks::scan_panels(const Run& run, const CodesIn& at, std::size_t begin, std::size_t count, Room& room,
                              Collector& collector) const {
  const CodesIn from = at.from(begin, *space_);
  const std::size_t panels = run.end_panel - run.first_panel, width = batch_.width();
  const bool is_medium = reads_partial(room, collector);
  const Ahead ahead = is_medium ? Ahead{} : what_follows(run, from, begin, count);
  const std::size_t lines = ahead.bytes / 64;
  const double coded_hits = room.hits;
  for (std::size_t turn = 0; turn < panels; ++turn) {
    const std::size_t p = run.first_panel + turn;
    float* const keys = room.keys.data() + p * width;
    float* const units = room.units.data() + p * width;
    queries_->find_keys(p, room.thresholds.data() + p * width, keys, units);
    room.refines &= collector.takes_refined();
    if (is_medium) take_waiting(room, collector);
    list_waiting(room);
    const std::size_t line = lines * turn / panels, end_line = lines * (turn + 1) / panels;
    const CodeScan scan{from.codes,
                        stride(),
                        queries_->panel(p),
                        queries_->corrections(p),
                        from.scales,
                        from.lengths,
                        from.errors,
                        room.row_terms.empty() ? nullptr : room.row_terms.data() + begin,
                        keys,
                        queries_->slopes(p),
                        queries_->weights(p),
                        units,
                        room.code_hits.data(),
                        room.hit_words.data(),
                        lines == 0 ? nullptr : ahead.at + line * 64,
                        room.ahead.data(),
                        static_cast<std::uint32_t>(end_line - line),
                        static_cast<std::uint32_t>(room.ahead.size()),
                        static_cast<std::uint32_t>(piece_lines(room)),
                        room.hits_are_rare ? 1U : 0U,
                        static_cast<std::uint32_t>(count),
                        static_cast<std::uint32_t>(space_->padded()),
                        static_cast<std::uint32_t>(width)};
    const std::uint32_t hits = is_medium   ? scan_medium(scan, from, room)
                               : is_int8() ? kernels_.scan_codes(scan)
                                           : kernels_.scan_bf16_codes(scan);
    room.hits_are_rare = hits * kRareHits < count * width;
    take_waiting(room, collector);
    for (std::uint32_t h = 0; h < hits; ++h) {
      const CodeHit& hit = room.code_hits[h];
      add_candidate(run, begin + hit.row, p * width + hit.query, room);
    }
    // Where thresholds still rise fast, the next rows are not to wait for them; nor are many to be held. Of those by
    // medium codes nothing has been fetched.
    room.waits = !is_medium;
    if (is_medium || room.ramp < run.count || room.candidates.size() > kMostWaiting) take_waiting(room, collector);
    room.waits = true;
  }
  if (is_medium) judge_partial(coded_hits, kSavedMediumReading * static_cast<double>(count), count, room);
}

// The last rows, which make no strip, by whole codes.
std::uint32_t CodedBlocks::scan_medium(const CodeScan& whole, const CodesIn& at, Room& room) const {
  const std::size_t count = whole.row_count / kMediumStrip * kMediumStrip;
  MediumTerms terms;
  queries_->find_medium(whole.keys, whole.units, terms);
  CodeScan scan = whole;
  scan.errors = at.medium_errors;
  scan.keys = terms.keys;
  scan.units = terms.units;
  scan.slopes = terms.slopes;
  scan.weights = terms.weights;
  scan.row_count = static_cast<std::uint32_t>(count);
  const std::uint32_t hits = kernels_.scan_medium_codes(scan, {at.coarse, at.quarters, room.widened.data()});
  if (count == whole.row_count) return hits;
  const CodesIn from = at.from(count, *space_);
  CodeScan rest = whole;
  rest.rows = from.codes;
  rest.scales = from.scales;
  rest.lengths = from.lengths;
  rest.errors = from.errors;
  if (whole.row_terms != nullptr) rest.row_terms = whole.row_terms + count;
  rest.row_count -= static_cast<std::uint32_t>(count);
  rest.hits = whole.hits + hits;
  const std::uint32_t more = kernels_.scan_codes(rest);
  for (std::uint32_t h = 0; h < more; ++h) rest.hits[h].row += static_cast<std::uint32_t>(count);
  return hits + more;
}

std::size_t CodedBlocks::piece_lines(const Room& room) const noexcept {
  return room.refines ? (space_->nibble_stride() + 94) / 64 : (request_.index.row_bytes() + 126) / 64;
}

// The rows of the candidates that wait, or their residuals, to be fetched.
void CodedBlocks::list_waiting(Room& room) const {
  room.ahead.clear();
  for (const Candidate& candidate : room.candidates) {
    const auto row = static_cast<std::size_t>(candidate.row);
    const void* const at = room.refines
                               ? static_cast<const void*>(request_.codes->at.residuals + row * space_->nibble_stride())
                               : request_.index.address(row);
    room.ahead.push_back(static_cast<const char*>(at));
  }
}

void CodedBlocks::take_waiting(Room& room, Collector& collector) const {
  std::vector<Candidate>& candidates = room.candidates;
  if (candidates.empty()) return;
  if (room.refines) refine(room);
  const auto rough =
      std::partition(candidates.begin(), candidates.end(), [](const Candidate& c) { return !c.is_rough(); });
  if (rough != candidates.begin()) collector.take({candidates.begin(), rough});
  if (rough != candidates.end()) collector.take({rough, candidates.end()});
  candidates.clear();
}

// Leaves those that may reach their thresholds by their residuals too.
void CodedBlocks::refine(Room& room) const {
  constexpr std::size_t kAhead = 16;
  const CodesIn& at = request_.codes->at;
  std::vector<Candidate>& candidates = room.candidates;
  const std::size_t met = candidates.size();
  room.refined.resize(std::max(room.refined.size(), met));
  const auto row_of = [&](std::size_t i) { return static_cast<std::size_t>(candidates[i].row); };
  const bool fetched = batch_.width() != 1 && room.waits;
  for (std::size_t i = 0; i < std::min(kAhead, met) && !fetched; ++i) queries_->prefetch(at, row_of(i));
  for (std::size_t i = 0; i < met; ++i) {  // of all first: no branch waits for one
    if (!fetched && i + kAhead < met) queries_->prefetch(at, row_of(i + kAhead));
    const std::size_t row = row_of(i);
    room.refined[i] = queries_->refined_product(kernels_, at, candidates[i].query, row);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < met; ++i) {
    if (queries_->refine(at, room.refined[i], candidates[i])) candidates[kept++] = candidates[i];
  }
  candidates.resize(kept);
  if (request_.counts == nullptr) return;
  request_.counts->candidates += static_cast<std::int64_t>(met - kept);
  request_.counts->refused += static_cast<std::int64_t>(met - kept);
}

// The rows whose products reach what `step` says, into room.reached.
std::uint32_t CodedBlocks::find_reached(const CodesIn& at, std::size_t query, const CodeThresholds& step, bool coarse,
                                        Room& room) const {
  if (!is_int8()) {
    kernels_.scan_bf16_rows(at.codes, stride(), step.row_count, space_->padded(), queries_->panel(query),
                            room.float_products.data());
    return kernels_.reached_bf16_rows(step, room.float_products.data(), room.reached.data());
  }
  if (coarse) {
    kernels_.scan_coarse_rows(at.coarse, space_->nibble_stride(), step.row_count, queries_->coarse_panel(query),
                              queries_->coarse_correction(query), room.products.data());
  } else {
    kernels_.scan_code_rows(at.codes, stride(), step.row_count, space_->padded(), queries_->panel(query),
                            *queries_->corrections(query), room.products.data());
  }
  return kernels_.reached_code_rows(step, room.products.data(), room.reached.data());
}

// Whether less than whole codes are to be met next.
bool CodedBlocks::reads_partial(const Room& room, const Collector& collector) const {
  const std::size_t after = collector.wanted() == 0 || sampled_ != 0 ? 0 : kPartialAfter;
  return queries_->has_partial() && room.refines && room.met >= std::max(after, room.partial_from);
}

// A few queries, each by itself: memory is the limit, so that two digits of the query, or float32, cost nothing, and
// half of every code is enough where few rows are left by it.
void CodedBlocks::scan_singles(const Run& run, const CodesIn& at, std::size_t begin, std::size_t count, Room& room,
                               Collector& collector) const {
  const CodesIn from = at.from(begin, *space_);
  const float* const row_terms = room.row_terms.empty() ? nullptr : room.row_terms.data() + begin;
  const bool coarse = reads_partial(room, collector);
  const double coded_hits = room.hits;
  for (std::size_t query = 0; query < batch_.size(); ++query) {
    queries_->find_keys(query, room.thresholds.data() + query, room.keys.data() + query, room.units.data() + query);
    const CodeThresholds step =
        queries_->thresholds(query, room.keys[query], room.units[query], from, row_terms, count, coarse);
    const std::uint32_t hits = find_reached(from, query, step, coarse, room);
    for (std::uint32_t h = 0; h < hits; ++h) add_candidate(run, begin + room.reached[h], query, room);
    take_waiting(room, collector);
  }
  if (coarse) judge_partial(coded_hits, kSavedCoarseReading * static_cast<double>(count * batch_.size()), count, room);
}

// Whether the candidates of `count` rows have cost no more than was saved, in nanoseconds an element of a row.
void CodedBlocks::judge_partial(double coded_hits, double saved, std::size_t count, Room& room) const {
  const double cost = (room.hits - coded_hits) * hit_cost(space_->depth(), true);
  room.partial_pays = cost <= saved * static_cast<double>(space_->depth());
  if (!room.partial_pays) room.partial_from = (room.met + count) * 3 / 2;
  room.hits = coded_hits;  // what is reconsidered is whether codes tell rows apart
  room.met_partially += count;
}

void CodedBlocks::add_candidate(const Run& run, std::size_t r, std::size_t query, Room& room) const {
  if (run.mask != nullptr && run.mask[r] == 0) return;
  if (run.norms != nullptr && std::isnan(run.norms[r])) return;
  const std::size_t row = run.first + r;
  if (!request_.admits(batch_.first() + query, row)) return;
  if (seeds_ != nullptr && seeds_->holds(query, static_cast<std::int64_t>(row))) return;
  room.hits += 1;
  Candidate& candidate = room.candidates.emplace_back();
  candidate.query = query;
  candidate.row = static_cast<std::int64_t>(row);
  candidate.norm = request_.norms != nullptr ? request_.norms[row] : run.norms != nullptr ? run.norms[r] : NAN;
  candidate.met_by = MetBy::kCodes;
}

// Of so many rows those that a worker is to meet with the queries that it has now.
double CodedBlocks::rows_a_worker(std::size_t rows, const Room& room) const noexcept {
  return static_cast<double>(rows) * static_cast<double>(batch_.size()) /
         static_cast<double>(room.queries * static_cast<std::size_t>(request_.workers));
}

// Candidates still to come for a worker that is to meet so many rows, when lately a row and query gave `rate` of them.
double CodedBlocks::expected_hits(const Room& room, double rate, double rows) const {
  const auto queries = static_cast<double>(room.queries), met = static_cast<double>(room.met);
  // Random order: as many in every doubling of the rows that are known, those of a sample included.
  const double sampled = rows_a_worker(sampled_, room);
  const double lately = std::log((sampled + met) / (sampled + static_cast<double>(room.marked)));
  const double falling =
      rate * queries * (met - static_cast<double>(room.marked)) / lately * std::log((sampled + rows) / (sampled + met));
  // Where the rate does not fall, it will stay.
  const bool stays = rate > 0.75 * room.rate && met >= 4 * sampled;
  return stays ? rate * queries * (rows - met) : falling;
}

// Every time that the rows met have doubled: what the candidates still to come will cost, against what codes save.
void CodedBlocks::reconsider(Room& room) {
  const double queries = static_cast<double>(room.queries), depth = static_cast<double>(space_->depth());
  const auto met = static_cast<double>(room.met);
  const std::size_t lately = room.met - room.marked, coded = lately - room.met_partially;
  room.met_partially = 0;
  if (2 * coded < lately) {  // few rows tell of codes
    room.hits = 0;
    room.marked = room.met;
    return;
  }
  const double rows = rows_a_worker(request_.index.rows, room);
  const double rate = room.hits / (queries * static_cast<double>(coded));
  const bool single = batch_.width() == 1;
  if (room.marked > 0 && rows > met) {
    const double cost = expected_hits(room, rate, rows) * doubtful_cost(space_->depth(), single);
    const double saved = single ? (is_int8() ? kSavedReading : kSavedBf16Reading)
                                : queries * (is_int8() ? kSavedElement : kSavedBf16Element);
    if (cost > (rows - met) * depth * saved) give_up();
  }
  room.rate = rate;
  room.hits = 0;
  room.marked = room.met;
}

}  // namespace fastembed::search
