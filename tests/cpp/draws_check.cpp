// The draws of training against the streams, one number at a time.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "check_support.hpp"
#include "support/rng.hpp"
#include "train/samplers.hpp"

namespace fastembed::check {
namespace {

constexpr std::int32_t kUntouched = -77;

// Of the words the first is always kept, the second by a draw of 0 alone, the others sometimes.
void check_tokens(const KernelTable& table, Report& report, std::size_t count, std::uint32_t least,
                  std::uint32_t span) {
  const std::string where = "draw_tokens" + text("count", count) + text("least", least) + text("span", span);
  Random random(count * 100 + span);
  std::vector<std::uint32_t> thresholds{0xffffffffU, 0};
  for (int i = 0; i < 9; ++i) thresholds.push_back(static_cast<std::uint32_t>(random.next()));
  const std::size_t further = random.next() % 40;  // ids behind, to be fetched at most
  const auto ids = std::make_unique<std::int32_t[]>(count + further);
  for (std::size_t i = 0; i < count + further; ++i) {
    ids[i] = static_cast<std::int32_t>(random.next() % thresholds.size());
  }
  const std::uint64_t key = random.next(), first = random.next();
  const std::size_t room = count + kDrawRoom;
  std::vector<std::int32_t> words(room + 1, kUntouched), offsets = words, reaches = words;
  const std::size_t kept = table.draw_tokens({.ids = ids.get(),
                                              .thresholds = thresholds.data(),
                                              .key = key,
                                              .first = first,
                                              .count = count,
                                              .readable = count + further,
                                              .words = words.data(),
                                              .offsets = offsets.data(),
                                              .reaches = reaches.data(),
                                              .offset = 1000,
                                              .least = least,
                                              .span = span});
  std::size_t wanted = 0;
  bool same = true;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t draw = support::draw(key, first + i);
    if (draw >> 32 > thresholds[ids[i]]) continue;
    const std::uint64_t reach = least + (((draw & 0xffffffffU) * span) >> 32);
    same = same && wanted < kept && words[wanted] == ids[i] && offsets[wanted] == 1000 + static_cast<std::int32_t>(i) &&
           reaches[wanted] == static_cast<std::int32_t>(reach);
    ++wanted;
  }
  report.expect(same && kept == wanted, where);
  report.expect(words[room] == kUntouched && offsets[room] == kUntouched && reaches[room] == kUntouched,
                where + ": wrote behind its lists");
}

void check_aliases(const KernelTable& table, Report& report, std::size_t kinds, std::size_t count) {
  Random random(kinds * 1000 + count);
  std::vector<std::int64_t> counts(kinds);
  for (auto& value : counts) value = 1 + static_cast<std::int64_t>(random.next() % 1000);
  const train::AliasTable alias(counts, 0.75);
  const std::uint64_t key = random.next(), first = random.next();
  std::vector<std::int32_t> words(count + 1, kUntouched);
  table.draw_aliases({.columns = alias.columns().data(),
                      .column_count = alias.columns().size(),
                      .key = key,
                      .first = first,
                      .fetched_first = first + count,
                      .count = count,
                      .fetched = count / 2,
                      .words = words.data()});
  bool same = true;
  for (std::size_t k = 0; k < count; ++k) same = same && words[k] == alias.sample(support::draw(key, first + k));
  const std::string where = "draw_aliases" + text("kinds", kinds) + text("count", count);
  report.expect(same, where);
  report.expect(words[count] == kUntouched, where + ": wrote behind its list");
}

// How probable each word is.
std::vector<double> probabilities(const train::AliasTable& alias) {
  const auto columns = alias.columns();
  std::vector<double> result(columns.size());
  for (std::size_t column = 0; column < columns.size(); ++column) {
    const double kept = (static_cast<double>(columns[column].threshold) + 1.0) / 4294967296.0;
    result[column] += kept / static_cast<double>(columns.size());
    result[columns[column].alias] += (1.0 - kept) / static_cast<double>(columns.size());
  }
  return result;
}

// Parts make up the whole, each has words of its own, and they stand together.
void check_parts(Report& report, std::size_t kinds, std::size_t part_count, double exponent) {
  std::vector<std::int64_t> counts(kinds);
  for (std::size_t word = 0; word < kinds; ++word) counts[word] = static_cast<std::int64_t>(1'000'000 / (word + 3));
  const std::string where = "AliasTable::parts" + text("kinds", kinds) + text("part_count", part_count);
  const auto parts = train::AliasTable::parts(counts, exponent, part_count);
  report.expect(parts.size() == part_count, where);
  const std::vector<double> whole = probabilities(train::AliasTable(counts, exponent));
  std::size_t changes = 0;
  const std::vector<double>* last = nullptr;
  std::vector<std::vector<double>> by_part;
  for (const auto& part : parts) by_part.push_back(probabilities(part));
  bool right = true;
  for (std::size_t word = 0; word < kinds; ++word) {
    double sum = 0;
    for (const auto& part : by_part) {
      sum += part[word];
      if (part[word] < 1e-9) continue;
      changes += last != nullptr && last != &part;
      last = &part;
    }
    right = right && std::abs(sum / static_cast<double>(part_count) - whole[word]) < 1e-9;
  }
  report.expect(right, where + ": not the whole noise");
  // Four bands a part: at each border a word of both, counted up to three times.
  report.expect(changes >= part_count - 1 && changes <= 12 * part_count, where + ": mixed");
}

}  // namespace

void check_draws(const KernelTable& table, Report& report) {
  for (const std::size_t part_count : {2, 3, 4}) {
    for (const std::size_t kinds : {1, 2, 3, 7, 1000, 5000}) {
      for (const double exponent : {0.75, 0.0, -0.5}) check_parts(report, kinds, part_count, exponent);
    }
  }
  for (const std::size_t count : kLengths) {
    for (const std::uint32_t span : {0U, 1U, 5U, 20U}) check_tokens(table, report, count, 1, span);
    check_tokens(table, report, count, 7, 0);
    for (const std::size_t kinds : {1, 2, 1000}) check_aliases(table, report, kinds, count);
  }
}

}  // namespace fastembed::check
