#include "search/block_scan.hpp"

#include <algorithm>
#include <cmath>

#include "search/score.hpp"
#include "search/stored_rows.hpp"

namespace fastembed::search {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{96} << 10;  // stays in L2 beside a panel
constexpr std::size_t kCachedBytes = std::size_t{2} << 20;
constexpr std::size_t kLongBlockBytes = std::size_t{768} << 10;
constexpr std::size_t kMostRows = 384, kMostLongRows = 3072;
constexpr std::size_t kMostTileRows = 1536;
// Of medium codes: what begins a block waits for memory.
constexpr std::size_t kMediumBlockBytes = std::size_t{1536} << 10, kMostMediumRows = 6144;
constexpr std::size_t kLeastGroupPanels = 4;
constexpr std::size_t kRowMultiple = 24;                               // whole strips of the kernels
constexpr float kLeastSquare = 0x1p-100F, kGreatestSquare = 0x1p116F;  // that float32 sums can be relied on for

}  // namespace

struct BlockScan::Room {
  Room(std::size_t rows, std::size_t depth, std::size_t width, bool gathers)
      : norms(rows), factors(rows), offsets(rows), products(width == 1 ? rows : 0) {
    if (gathers) {
      gathered = support::AlignedBuffer<float>::uninitialised(rows * depth);
      numbers.resize(rows);
    }
    thresholds.resize(width);
  }
  // Where rows are widened, a piece at a time.
  float* narrow_room(const BlockScan& scan) {
    if (widened.size() == 0) {
      widened = support::AlignedBuffer<float>::uninitialised(scan.piece_rows_ * scan.request_.index.depth);
    }
    return widened.data();
  }
  std::size_t first_panel = 0, end_panel = 0;  // that the block is to meet
  std::vector<float> norms, factors, offsets, products, thresholds;
  std::vector<float> estimates;
  bool raised = false;
  std::vector<PanelHit> hits;  // of panels in float32
  std::vector<Candidate> candidates;
  support::AlignedBuffer<float> gathered, widened;
  std::vector<std::int64_t> numbers;
  std::unique_ptr<CodedBlocks::Room> coded;
};

BlockScan::BlockScan(const KernelTable& kernels, const Request& request, const Bounds& bounds, QueryBatch& batch)
    : kernels_(kernels),
      request_(request),
      bounds_(bounds),
      batch_(batch),
      filters_(request.query_masks != nullptr || request.self_first >= 0) {
  // A single query reads a block once: the longer it is, the longer the processor's prefetchers stay on their track.
  const bool on_the_way = codes_on_the_way(request) && batch.width() == kPanelQueries;
  if (request.codes != nullptr || on_the_way) coded_ = std::make_unique<CodedBlocks>(kernels, request, batch);
  const bool tiles = coded_ && !on_the_way && batch.width() > 1 && kernels.prefers_split();
  const bool is_medium = coded_ && coded_->has_medium() && request.mask == nullptr;
  const std::size_t block_bytes = batch.size() == 1 ? kLongBlockBytes
                                  : is_medium       ? kMediumBlockBytes
                                  : tiles           ? kTileBlockBytes
                                                    : kBlockBytes;
  const std::size_t most_rows = batch.size() == 1 ? kMostLongRows
                                : is_medium       ? kMostMediumRows
                                : tiles           ? kMostTileRows
                                                  : kMostRows;
  const std::size_t bytes_a_row = coded_ ? coded_->stride() : request.index.depth * sizeof(float);
  const std::size_t fitting = block_bytes / (bytes_a_row + 1);
  const std::size_t shared = request.index.rows / (static_cast<std::size_t>(request.workers) * 4) + 1;
  const std::size_t multiple = coded_ ? kCodedMultiple : kRowMultiple;
  block_rows_ = std::clamp(std::min(fitting, shared), multiple, most_rows) / multiple * multiple;
  piece_rows_ =
      std::clamp(kBlockBytes / (request.index.depth * sizeof(float)), multiple, block_rows_) / multiple * multiple;
  float32_rows_ = is_medium ? std::min(coded_->piece_rows(), block_rows_) : block_rows_;
  from_memory_ = request.index.rows * request.index.stride > kCachedBytes;
  blocks_ = (request.index.rows + block_rows_ - 1) / block_rows_;
}

// False when the mask admits no row of the block.
bool BlockScan::load_block(std::size_t number, Room& room, Block& block) const {
  const StoredRows& index = request_.index;
  block.first = begin_of(number);
  block.count = std::min(block_rows_, index.rows - block.first);
  block.rows = index.is_float32() ? index.row(block.first) : nullptr;
  block.stride = index.stride / sizeof(float);
  block.numbers = nullptr;
  if (request_.mask == nullptr) return true;
  const std::uint8_t* const mask = request_.mask + block.first;
  std::size_t admitted = 0;
  for (std::size_t r = 0; r < block.count; ++r) admitted += mask[r] != 0 ? 1 : 0;
  if (admitted == 0) return false;
  if (admitted == block.count) return true;
  // Codes are read so fast that to leave out few of them is not worth the gathering.
  const bool coded = coded_ && !coded_->on_the_way() && coded_->takes(block.first, block.count);
  if ((coded ? 4 : 2) * admitted > block.count) {
    block.mask = mask;
    return true;
  }
  std::size_t count = 0;
  for (std::size_t r = 0; r < block.count; ++r) {
    if (mask[r] == 0) continue;
    room.numbers[count] = static_cast<std::int64_t>(block.first + r);
    copy_rows(kernels_, index, block.first + r, 1, room.gathered.data() + count * index.depth);
    ++count;
  }
  block.rows = room.gathered.data();
  block.stride = index.depth;
  block.count = count;
  block.numbers = room.numbers.data();
  return true;
}

// A norm that float32 sums could not give, or that the scan cannot judge: looks again in float64.
void BlockScan::judge_norm(const Block& block, std::size_t r, Room& room, Collector& collector) {
  const bool in_place = block.rows != nullptr;
  const Matrix at = in_place ? Matrix{block.rows + r * block.stride, 1, request_.index.depth, block.stride}
                             : as_float32(kernels_, request_.index, block.first + r, 1, room.narrow_room(*this));
  const double exact = exact_norm(kernels_, at.data, at.depth);
  room.norms[r] = static_cast<float>(exact);
  if (bounds_.can_scan(room.norms[r])) return;
  const std::int64_t row = block.number(r);
  if (request_.check_finite && !std::isfinite(exact) && request_.admits_for_any(static_cast<std::size_t>(row))) {
    std::int64_t first = bad_row_.load();
    while ((first < 0 || row < first) && !bad_row_.compare_exchange_weak(first, row)) {
    }
  }
  collector.unscanned.push_back(row);
  room.norms[r] = NAN;
}

// Fills norms, factors and offsets. `room.norms` holds squares where the norms are not known.
void BlockScan::find_norms(const Block& block, Room& room, Collector& collector) {
  float* const norms = room.norms.data();
  const float greatest = bounds_.greatest_norm();
  int doubtful = 0;
  if (request_.norms != nullptr && block.numbers == nullptr) {
    const float* const known = request_.norms + block.first;
    for (std::size_t r = 0; r < block.count; ++r) {
      norms[r] = known[r];
      doubtful |= known[r] <= greatest ? 0 : 1;
    }
  } else if (request_.norms != nullptr) {
    for (std::size_t r = 0; r < block.count; ++r) {
      norms[r] = request_.norms[static_cast<std::size_t>(block.number(r))];
      doubtful |= norms[r] <= greatest ? 0 : 1;
    }
  } else {
    for (std::size_t r = 0; r < block.count; ++r) {
      doubtful |= norms[r] >= kLeastSquare && norms[r] <= kGreatestSquare ? 0 : 1;
      norms[r] = std::sqrt(norms[r]);
    }
  }
  const bool all_good = doubtful == 0 && bounds_.can_scan(0.0F);
  if (!all_good) {
    for (std::size_t r = 0; r < block.count; ++r) {
      if (block.mask != nullptr && block.mask[r] == 0) continue;
      const bool sure = bounds_.can_scan(norms[r]) && norms[r] > 0x1p-50F && norms[r] < 0x1p58F;
      if (!sure) judge_norm(block, r, room, collector);
    }
  }
  // A norm that is NaN makes its terms NaN, which no product reaches.
  bounds_.row_terms(norms, block.count, room.factors.data(), room.offsets.data());
  if (block.mask == nullptr) return;
  for (std::size_t r = 0; r < block.count; ++r) {
    if (block.mask[r] == 0) room.offsets[r] = NAN;
  }
}

// Meets the block by its codes, if there are any; norms have been found where they are made on the way.
bool BlockScan::scan_coded(const Block& block, std::size_t next, Room& room, Collector& collector) {
  if (!coded_ || block.numbers != nullptr || !coded_->takes(block.first, block.count)) return false;
  if (!room.coded) room.coded = coded_->make_room(block_rows_);
  CodedBlocks::Run run{block.first, block.count, room.first_panel, room.end_panel, block.mask, nullptr, {}, nullptr, 0};
  if (coded_->on_the_way()) {
    run.norms = room.norms.data();
    run.rows = {block.rows, block.count, request_.index.depth, block.stride};
  }
  if (next < blocks_) {
    const std::size_t first = begin_of(next), last = std::min(request_.index.rows, first + block_rows_);
    const bool own = coded_->on_the_way();
    run.ahead = own ? reinterpret_cast<const char*>(request_.index.address(first))
                    : reinterpret_cast<const char*>(coded_->codes_of(first));
    run.ahead_bytes = own ? (last - first - 1) * request_.index.stride + request_.index.row_bytes()
                          : (last - first) * coded_->stride();
    if (!own && !coded_->takes(first, last - first)) run.ahead_bytes = 0;
  }
  coded_->scan(run, *room.coded, collector);
  return true;
}

void BlockScan::scan_panels(const Block& block, std::size_t next, Room& room, Collector& collector) {
  const std::size_t width = batch_.width(), panels = room.end_panel - room.first_panel;
  room.hits.resize(block_rows_ * width);
  // The next rows are fetched while these are worked on, some of them with every panel.
  std::size_t lines = 0;
  const char* ahead = nullptr;
  if (block.following != 0) {
    ahead = reinterpret_cast<const char*>(block.rows + block.count * block.stride);
    lines = (block.following - 1) * block.stride * sizeof(float) / 64;
  } else if (next < blocks_) {
    const std::size_t first = begin_of(next), last = std::min(request_.index.rows, first + float32_rows_);
    ahead = reinterpret_cast<const char*>(request_.index.address(first));
    lines = ((last - first - 1) * request_.index.stride + request_.index.row_bytes()) / 64;
  }
  for (std::size_t turn = 0; turn < panels; ++turn) {
    const std::size_t p = room.first_panel + turn;
    for (std::size_t j = 0; j < width; ++j) room.thresholds[j] = batch_.threshold(p * width + j);
    const std::size_t line = lines * turn / panels, end_line = lines * (turn + 1) / panels;
    const PanelScan scan{block.rows,
                         block.stride,
                         batch_.panel(p),
                         room.factors.data(),
                         room.offsets.data(),
                         room.thresholds.data(),
                         room.hits.data(),
                         ahead == nullptr ? nullptr : ahead + line * 64,
                         static_cast<std::uint32_t>(end_line - line),
                         static_cast<std::uint32_t>(block.count),
                         static_cast<std::uint32_t>(request_.index.depth),
                         static_cast<std::uint32_t>(width)};
    const std::uint32_t count = kernels_.scan_panel_f32(scan);
    room.candidates.clear();
    for (std::uint32_t h = 0; h < count; ++h) {
      const PanelHit& hit = room.hits[h];
      add_candidate(block, hit.row, p * width + hit.query, hit.product, room);
    }
    if (!room.candidates.empty()) collector.take(room.candidates);
  }
}

void BlockScan::add_candidate(const Block& block, std::size_t r, std::size_t query, float product, Room& room) const {
  const std::int64_t row = block.number(r);
  if (filters_ && !request_.admits(batch_.first() + query, static_cast<std::size_t>(row))) return;
  room.candidates.push_back(
      {query, row, bounds_.key_bounds(product, room.norms[r], batch_.scale(query)), room.norms[r], MetBy::kRow});
}

// The first threshold of a query that has its products with a block's rows: of some of these, the least key that the k
// may have that look best. It spares the k ln(rows / k) candidates that a threshold lets through that rises from
// nothing.
void BlockScan::raise_at_once(const Block& block, std::size_t query, std::size_t k, Room& room) {
  constexpr std::size_t kSampled = 16, kMostWanted = 64;
  const std::size_t count = std::min(block.count, kSampled * k);
  if (filters_ || k > kMostWanted || count < 2 * k) return;
  const float* const products = room.products.data();
  room.estimates.resize(count + kRowPadding);
  for (std::size_t r = 0; r < count; ++r) {
    const float estimate = (products[r] - room.offsets[r]) / room.factors[r];
    room.estimates[r] = estimate < INFINITY ? estimate : -INFINITY;  // nor a row that is not admitted: NaN
  }
  std::fill_n(room.estimates.begin() + static_cast<std::ptrdiff_t>(count), kRowPadding, -INFINITY);
  const float least = kernels_.kth_greatest_f32(room.estimates.data(), count, k);
  if (least == -INFINITY) return;
  float key = INFINITY;
  for (std::size_t r = 0; r < count; ++r) {
    if (room.estimates[r] < least) continue;
    key = std::min(key, bounds_.key_bounds(products[r], room.norms[r], batch_.scale(query)).lower);
  }
  batch_.raise_threshold(query, bounds_.threshold(key, batch_.scale(query)));
}

// A few queries, each by itself: a panel would leave most of its lanes empty.
void BlockScan::scan_singles(const Block& block, Room& room, Collector& collector) {
  constexpr std::size_t kGroup = 16;
  const std::size_t depth = request_.index.depth;
  float* const products = room.products.data();
  float* const squares = request_.norms == nullptr ? room.norms.data() : nullptr;
  for (std::size_t query = 0; query < batch_.size(); ++query) {
    const bool is_first = query == 0;
    if (block.rows == nullptr) {
      kernels_.scan_narrow_rows(narrow_rows_at(request_.index, block.first, block.count), batch_.panel(query),
                                products);
    } else {
      kernels_.scan_rows_f32(block.rows, block.stride, block.count, depth, batch_.panel(query),
                             is_first && from_memory_, products, is_first ? squares : nullptr);
    }
    if (is_first) find_norms(block, room, collector);
    if (!room.raised && collector.wanted() != 0) raise_at_once(block, query, collector.wanted(), room);
    for (std::size_t first = 0; first < block.count; first += kGroup) {
      const std::size_t last = std::min(block.count, first + kGroup);
      const float threshold = batch_.threshold(query);
      int reached = 0;
      for (std::size_t r = first; r < last; ++r) {
        reached |= products[r] >= room.factors[r] * threshold + room.offsets[r] ? 1 : 0;
      }
      if (reached == 0) continue;
      room.candidates.clear();
      for (std::size_t r = first; r < last; ++r) {
        if (products[r] >= room.factors[r] * threshold + room.offsets[r]) {
          add_candidate(block, r, query, products[r], room);
        }
      }
      if (!room.candidates.empty()) collector.take(room.candidates);
    }
  }
  room.raised = true;
}

// By the index's codes, by codes made on the way, or in float32. Rows of an index with codes are finite, and those that
// its codes say nothing of are candidates, so that it needs no look at norms. Blocks that are long for the sake of
// medium codes are met a piece at a time in float32.
void BlockScan::scan_block(const Block& block, std::size_t next, Room& room, Collector& collector) {
  const bool has_codes = coded_ && !coded_->on_the_way();
  if (has_codes && scan_coded(block, next, room, collector)) return;
  if (block.rows == nullptr) return scan_narrow(block, next, room, collector);
  for (std::size_t begin = 0; begin < block.count; begin += float32_rows_) {
    Block piece = block;
    piece.rows = block.rows + begin * block.stride;
    piece.first = block.first + begin;
    piece.count = std::min(float32_rows_, block.count - begin);
    piece.following = std::min(float32_rows_, block.count - begin - piece.count);
    if (block.mask != nullptr) piece.mask = block.mask + begin;
    if (block.numbers != nullptr) piece.numbers = block.numbers + begin;
    scan_float32(piece, next, room, collector);
  }
}

// Single queries are bound by memory, so that rows are widened in registers; for panels it pays to do so once.
void BlockScan::scan_narrow(const Block& block, std::size_t next, Room& room, Collector& collector) {
  if (batch_.width() == 1 && request_.norms != nullptr) return scan_singles(block, room, collector);
  const StoredRows& index = request_.index;
  float* const widened = room.narrow_room(*this);
  for (std::size_t begin = 0; begin < block.count; begin += piece_rows_) {
    Block piece = block;
    piece.first = block.first + begin;
    piece.count = std::min(piece_rows_, block.count - begin);
    if (block.mask != nullptr) piece.mask = block.mask + begin;
    copy_rows(kernels_, index, piece.first, piece.count, widened);
    piece.rows = widened;
    piece.stride = index.depth;
    scan_float32(piece, begin + piece.count == block.count ? next : blocks_, room, collector);
  }
}

void BlockScan::scan_float32(const Block& block, std::size_t next, Room& room, Collector& collector) {
  if (batch_.width() == 1) return scan_singles(block, room, collector);
  if (request_.norms == nullptr) {
    kernels_.squared_norms_f32(block.rows, block.stride, block.count, request_.index.depth, room.norms.data());
  }
  find_norms(block, room, collector);
  if (coded_ && coded_->on_the_way() && scan_coded(block, next, room, collector)) return;
  scan_panels(block, next, room, collector);
}

Seeds BlockScan::find_seeds(std::size_t k, int workers) {
  if (!coded_ || coded_->queries() == nullptr) return {};
  return search::find_seeds(kernels_, request_, batch_, *coded_->queries(), k, workers);
}

// Workers that have queries of their own share no thresholds and write to no lines of each other's. Rows are read and
// made ready for every group again: with this many panels that takes next to no time beside the products, but on matrix
// tiles, which are as fast as memory.
PanelGroups BlockScan::groups_for(int workers) const {
  const std::size_t panels = batch_.panels(), width = batch_.width(), count = static_cast<std::size_t>(workers);
  const bool made_ready = request_.norms != nullptr && (request_.index.is_float32() || coded_);
  const bool pays = width == kPanelQueries && panels >= kLeastGroupPanels * count && !kernels_.prefers_split();
  return {panels, width, made_ready && pays ? count : 1};
}

void BlockScan::work(int worker, Collector& collector, const support::StopFlag& stop) {
  Room room(block_rows_, request_.index.depth, batch_.width(), request_.mask != nullptr);
  const std::size_t all = blocks_ * groups_.count();
  std::size_t current = shares_.take(worker);
  while (current < all && !stop.load(std::memory_order_relaxed)) {
    const std::size_t next = shares_.take(worker), group = current / blocks_;
    room.first_panel = groups_.first(group);
    room.end_panel = groups_.first(group + 1);
    Block block;
    if (load_block(current % blocks_, room, block)) {
      scan_block(block, next < all ? next % blocks_ : blocks_, room, collector);
    }
    current = next;
  }
  if (room.coded) coded_->take_waiting(*room.coded, collector);
}

}  // namespace fastembed::search
