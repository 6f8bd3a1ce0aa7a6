#include "train/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <span>
#include <stdexcept>
#include <system_error>

#include "train/utf8.hpp"

namespace fastembed::train {
namespace {

std::string quoted(const std::string& path) {
  std::string text("'");
  text += repair_utf8({reinterpret_cast<const std::uint8_t*>(path.data()), path.size()}, Utf8Errors::kReplace);
  text += '\'';
  return text;
}

class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : file_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (file_ < 0) throw std::system_error(errno, std::generic_category(), path);
  }
  ~Descriptor() { close(file_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return file_; }

 private:
  int file_;
};

}  // namespace

MappedFile::MappedFile(std::string path) : path_(std::move(path)), label_(quoted(path_)) {
  struct stat status{};
  if (stat(path_.c_str(), &status) != 0) throw std::system_error(errno, std::generic_category(), path_);
  if (!S_ISREG(status.st_mode)) throw std::invalid_argument(label_ + " is not a regular file");
  size_ = static_cast<std::size_t>(status.st_size);
}

MappedFile::~MappedFile() { close(); }

void MappedFile::close() noexcept {
  if (data_ != nullptr) munmap(data_, size_);
  data_ = nullptr;
  copy_ = {};
}

const std::uint8_t* MappedFile::bytes() {
  std::call_once(mapped_, [this] { map(); });
  return data_ != nullptr ? static_cast<const std::uint8_t*>(data_) : copy_.data();
}

void MappedFile::map() {
  const Descriptor file(path_);
  struct stat status{};
  if (fstat(file.get(), &status) != 0) throw std::system_error(errno, std::generic_category(), path_);
  const auto shrunk = [this] { return std::runtime_error(label_ + " became shorter while it was read"); };
  if (static_cast<std::uint64_t>(status.st_size) < size_) throw shrunk();
  if (size_ == 0) return;
  void* data = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data != MAP_FAILED) {
    data_ = data;
    madvise(data, size_, MADV_SEQUENTIAL);
    return;
  }
  if (errno != ENODEV) throw std::system_error(errno, std::generic_category(), path_);
  copy_.resize(size_);
  for (std::size_t done = 0; done < size_;) {
    const ssize_t count = pread(file.get(), copy_.data() + done, size_ - done, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw std::system_error(errno, std::generic_category(), path_);
    if (count == 0) throw shrunk();
    done += static_cast<std::size_t>(count);
  }
}

}  // namespace fastembed::train
