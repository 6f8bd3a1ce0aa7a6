#include "search/hit_pile.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <vector>

#include "search/batches.hpp"

namespace fastembed::search {
namespace {

constexpr std::size_t kPieceHits = std::size_t{1} << 18;
constexpr std::size_t kMoreThanMost = std::size_t{1} << 20;  // hits that are kept before the best are looked for
constexpr std::size_t kHitsWorthThreads = std::size_t{1} << 16;

}  // namespace

void HitPile::append(std::span<const Found> found) {
  const std::lock_guard lock(mutex_);
  std::transform(found.begin(), found.end(), hits_.extend(found.size()), [](const Found& one) { return one.hit; });
  if (size() >= most_ && size() - most_ >= kMoreThanMost) keep_best();
}

void HitPile::keep_best() {
  if (size() <= most_) return;
  Hit* const hits = hits_.data();
  std::nth_element(hits, hits + most_ - 1, hits + size(), [this](const Hit& a, const Hit& b) { return worse(b, a); });
  hits_.truncate(most_);
  const float key = hits[most_ - 1].key();
  if (!std::isnan(key)) least_.store(key, std::memory_order_relaxed);
}

bool HitPile::worse(const Hit& a, const Hit& b) const noexcept {
  if (a.key() < b.key()) return true;
  if (a.key() > b.key()) return false;
  return better({b.key(), request_.rank(b.row()), b.row()}, {a.key(), request_.rank(a.row()), a.row()});
}

// Worst first. Parts of about the same size, whose borders nth_element finds, sorted by the workers.
void HitPile::sort() {
  keep_best();
  const auto order = [this](const Hit& a, const Hit& b) { return worse(a, b); };
  const bool alone = request_.workers == 1 || size() < kHitsWorthThreads;
  const std::size_t parts = alone ? 1 : std::bit_ceil(static_cast<std::size_t>(request_.workers));
  std::vector<Hit*> borders(parts + 1, hits_.data());
  borders[parts] += size();
  for (std::size_t width = parts; width > 1; width /= 2) {
    for (std::size_t part = 0; part < parts; part += width) {
      Hit* const first = borders[part];
      Hit* const last = borders[part + width];
      borders[part + width / 2] = first + (last - first) / 2;
      std::nth_element(first, borders[part + width / 2], last, order);
    }
  }
  std::atomic<std::size_t> next{0};
  run(request_, alone ? 1 : request_.workers, static_cast<double>(size()) * 100,
      [&](int, const support::StopFlag& stop) {
        for (std::size_t part = 0; (part = next.fetch_add(1)) < parts && !stop.load();) {
          std::sort(borders[part], borders[part + 1], order);
        }
      });
}

void HitPile::take(std::size_t count, float* scores, std::int64_t* rows) {
  while (count > 0) {
    const std::size_t piece = std::min(kPieceHits, count);
    const Hit* hit = hits_.data() + size();
    for (std::size_t i = 0; i < piece; ++i) {
      --hit;
      *scores++ = key_to_score(request_.metric, hit->key());
      *rows++ = hit->row();
    }
    hits_.shrink(size() - piece);
    count -= piece;
  }
}

}  // namespace fastembed::search
