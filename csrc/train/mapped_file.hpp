// A regular file mapped read-only by the first worker that needs it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace fastembed::train {

class MappedFile {
 public:
  /// Looks at the file's size and nothing else. Throws std::system_error with the path, and std::invalid_argument when
  /// it is not a regular file.
  explicit MappedFile(std::string path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::string& label() const noexcept { return label_; }  // for messages
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// The file's bytes; maps it at the first call. From any thread. Throws std::system_error, and std::runtime_error
  /// when the file has become shorter.
  const std::uint8_t* bytes();
  /// Unmaps; no piece may be in use.
  void close() noexcept;

 private:
  void map();
  std::string path_;
  std::string label_;
  std::size_t size_ = 0;
  std::once_flag mapped_;
  void* data_ = nullptr;
  std::vector<std::uint8_t> copy_;  // where the file system has no mmap
};

}  // namespace fastembed::train
