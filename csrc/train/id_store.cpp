#include "train/id_store.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "support/no_memory.hpp"

namespace fastembed::train {
namespace {

[[noreturn]] void throw_errno(int code, const std::string& what) {
  throw std::system_error(code, std::generic_category(), what);
}

std::uint64_t page_size() {
  static const auto size = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return size;
}

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

PageRange::~PageRange() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

PageRange PageRange::anonymous(std::size_t bytes) {
  PageRange range;
  if (bytes == 0) return range;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw support::NoMemory(bytes, 1);
#if defined(MADV_HUGEPAGE)
  if (bytes >= 4 * kHugePage) madvise(data, bytes, MADV_HUGEPAGE);
#endif
  range.data_ = data;
  range.bytes_ = bytes;
  return range;
}

PageRange PageRange::of_file(int file, std::uint64_t offset, std::size_t bytes) {
  PageRange range;
  if (bytes == 0) return range;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, static_cast<off_t>(offset));
  if (data == MAP_FAILED) throw_errno(errno, "cannot map the spool file of the encoded corpus");
  range.data_ = data;
  range.bytes_ = bytes;
  range.in_file_ = true;
  return range;
}

SpoolFile::~SpoolFile() {
  if (file_ >= 0) close(file_);
}

void SpoolFile::open_once() {
  std::call_once(opened_, [this] {
    int file = -1;
#if defined(O_TMPFILE)
    file = open(directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
#endif
    if (file < 0) {
      // Not every file system knows nameless files; then the name exists for an instant.
      std::string pattern = directory_ + "/fastembed-XXXXXX";
      file = mkostemp(pattern.data(), O_CLOEXEC);
      if (file < 0) throw_errno(errno, "cannot create a temporary file in '" + directory_ + "' for the encoded corpus");
      unlink(pattern.c_str());
    }
    file_ = file;
  });
}

std::uint64_t SpoolFile::reserve(std::size_t bytes) {
  open_once();
  const std::uint64_t whole_pages = (bytes + page_size() - 1) / page_size() * page_size();
  return end_.fetch_add(whole_pages);
}

std::uint64_t SpoolFile::append(const void* data, std::size_t bytes) {
  const std::uint64_t offset = reserve(bytes);
  const auto* from = static_cast<const char*>(data);
  for (std::size_t written = 0; written < bytes;) {
    const ssize_t count = pwrite(file_, from + written, bytes - written, static_cast<off_t>(offset + written));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_errno(errno, "cannot write the encoded corpus to a temporary file in '" + directory_ + "'");
    written += static_cast<std::size_t>(count);
  }
  return offset;
}

// Without the space taken beforehand, a full disk would be a SIGBUS at the first touch of a page.
std::uint64_t SpoolFile::allocate(std::size_t bytes) {
  const std::uint64_t offset = reserve(bytes);
  if (bytes == 0) return offset;
  const int code = posix_fallocate(file_, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  if (code != 0) throw_errno(code, "no room for the encoded corpus in a temporary file in '" + directory_ + "'");
  return offset;
}

PageRange SpoolFile::map(std::uint64_t offset, std::size_t bytes) const {
  return PageRange::of_file(file_, offset, bytes);
}

void SpoolFile::release(std::uint64_t offset, std::size_t bytes) noexcept {
#if defined(FALLOC_FL_PUNCH_HOLE)
  if (bytes > 0) {
    static_cast<void>(fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                                static_cast<off_t>(bytes)));
  }
#else
  static_cast<void>(offset);
  static_cast<void>(bytes);
#endif
}

void IdStore::put(Segment& segment, std::span<const std::int32_t> ids) {
  segment.stored = segment.length = ids.size();
  if (ids.empty()) return;
  const std::uint64_t bytes = ids.size_bytes();
  if (memory_used_.fetch_add(bytes) + bytes <= memory_budget_) {
    segment.memory = std::make_unique_for_overwrite<std::int32_t[]>(ids.size());
    std::memcpy(segment.memory.get(), ids.data(), bytes);
  } else {
    memory_used_.fetch_sub(bytes);
    segment.spool_offset = spool_.append(ids.data(), bytes);
    spooled_bytes_.fetch_add(bytes);
  }
}

void IdStore::drop(Segment& segment) noexcept {
  const std::uint64_t bytes = segment.stored * sizeof(std::int32_t);
  if (segment.memory) {
    segment.memory.reset();
    memory_used_.fetch_sub(bytes);
  } else {
    spool_.release(segment.spool_offset, bytes);
  }
  segment.stored = segment.length = 0;
}

PageRange IdStore::result_pages(std::size_t bytes) {
  if (spooled_bytes_.load() == 0 && result_bytes_.fetch_add(bytes) + bytes <= memory_budget_) {
    return PageRange::anonymous(bytes);
  }
  spooled_bytes_.fetch_add(bytes);
  return spool_.map(spool_.allocate(bytes), bytes);
}

}  // namespace fastembed::train
