// Where encoded ids live: in memory up to a budget, beyond it in a temporary file that has no name from the start, so
// that nothing is left behind however the process ends.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

namespace fastembed::train {

/// Zeroed pages: anonymous memory or a part of a file.
class PageRange {
 public:
  PageRange() = default;
  ~PageRange();
  PageRange(PageRange&& other) noexcept { swap(other); }
  PageRange& operator=(PageRange&& other) noexcept {
    swap(other);
    return *this;
  }
  PageRange(const PageRange&) = delete;
  PageRange& operator=(const PageRange&) = delete;

  static PageRange anonymous(std::size_t bytes);
  static PageRange of_file(int file, std::uint64_t offset, std::size_t bytes);

  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }
  [[nodiscard]] bool in_file() const noexcept { return in_file_; }

 private:
  void swap(PageRange& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(in_file_, other.in_file_);
  }
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  bool in_file_ = false;
};

/// An unlinked temporary file; created at the first use. Append from any thread.
class SpoolFile {
 public:
  explicit SpoolFile(std::string directory) : directory_(std::move(directory)) {}
  ~SpoolFile();
  SpoolFile(const SpoolFile&) = delete;
  SpoolFile& operator=(const SpoolFile&) = delete;

  /// Writes the bytes and returns their offset, a multiple of the page size. Throws std::system_error, for example
  /// when the disk is full.
  std::uint64_t append(const void* data, std::size_t bytes);
  /// Disk space for so many bytes, all zero. Throws std::system_error when there is not enough.
  std::uint64_t allocate(std::size_t bytes);
  /// A shared, writable view of bytes written before; stays valid after the file object is gone.
  [[nodiscard]] PageRange map(std::uint64_t offset, std::size_t bytes) const;
  /// Gives the disk space of a range back, where the file system can do that.
  void release(std::uint64_t offset, std::size_t bytes) noexcept;

 private:
  void open_once();
  std::uint64_t reserve(std::size_t bytes);

  std::string directory_;
  std::once_flag opened_;
  int file_ = -1;
  std::atomic<std::uint64_t> end_{0};
};

/// The encoded tokens of one piece of the corpus, in order. An id's sign bit is set on the last token of a sentence.
struct Segment {
  std::unique_ptr<std::int32_t[]> memory;  // null when spooled or empty
  std::uint64_t spool_offset = 0;
  std::uint64_t stored = 0;    // ids that memory or the spool file hold room for
  std::uint64_t length = 0;    // ids in use
  std::int32_t table = 0;      // whose ids: 0 the merged vocabulary, 1 + w worker w
  bool leading_break = false;  // a sentence ends before the first id, or here when there is none
  // Filled in when ids are renamed:
  std::uint64_t sentence_ends = 0;  // sign bits
  bool ends_sentence = false;       // the last id has one
};

constexpr std::uint32_t kSentenceEndBit = 0x80000000U;

/// Keeps the ids of segments and decides what goes to the file.
class IdStore {
 public:
  IdStore(std::uint64_t memory_budget, std::string spool_directory)
      : memory_budget_(memory_budget), spool_(std::move(spool_directory)) {}

  /// Copies the ids into the segment's own storage. From any thread.
  void put(Segment& segment, std::span<const std::int32_t> ids);

  /// Calls use(ids) with the segment's ids, writable, wherever they are.
  template <class Use>
  void with_ids(const Segment& segment, const Use& use) const {
    if (segment.length == 0) return use(std::span<std::int32_t>{});
    if (segment.memory) return use(std::span(segment.memory.get(), segment.length));
    const PageRange view = spool_.map(segment.spool_offset, segment.length * sizeof(std::int32_t));
    use(std::span(static_cast<std::int32_t*>(view.data()), segment.length));
  }

  /// Frees the storage.
  void drop(Segment& segment) noexcept;

  /// Pages for a result of so many bytes: in memory while the budget allows, else in the spool file.
  PageRange result_pages(std::size_t bytes);

  [[nodiscard]] std::uint64_t spooled_bytes() const noexcept { return spooled_bytes_.load(); }

 private:
  std::uint64_t memory_budget_;
  std::atomic<std::uint64_t> memory_used_{0};
  std::atomic<std::uint64_t> result_bytes_{0};
  std::atomic<std::uint64_t> spooled_bytes_{0};
  SpoolFile spool_;
};

}  // namespace fastembed::train
