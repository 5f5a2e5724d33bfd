// NVIDIA's libraries, found and opened at run time: none is linked, none is looked for at import.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace sparsecore::cuda {

// An opened shared library; closed with its last owner unless it is kept.
class SharedLibrary {
 public:
  // Nothing where it cannot be opened: `why` then has the loader's words. Only what the process has
  // loaded already is taken where asked so.
  static std::optional<SharedLibrary> open(const std::string& name, bool only_if_loaded,
                                           std::string& why);
  SharedLibrary(SharedLibrary&& other) noexcept;
  SharedLibrary(const SharedLibrary&) = delete;
  SharedLibrary& operator=(const SharedLibrary&) = delete;
  SharedLibrary& operator=(SharedLibrary&&) = delete;
  ~SharedLibrary();

  // nullptr where it has no such symbol.
  void* find(const char* symbol) const;
  // The file, with links resolved where that can be.
  const std::string& path() const { return path_; }
  // Until the process ends, whatever becomes of this.
  void keep();

 private:
  explicit SharedLibrary(void* handle);
  void* handle_;
  std::string path_;
};

// Where a library may lie.
struct LibrarySearch {
  std::string soname;
  std::string override_path;         // where not empty, the only place
  std::vector<std::string> folders;  // after a copy that is loaded, before the loader's own places
};

struct LibraryFound {
  std::optional<SharedLibrary> library;
  std::string reason;  // of each copy that was not taken; empty where there was none
};

// The first copy that `refuse` has nothing to say against.
using Refuse = std::function<std::string(const SharedLibrary&)>;
LibraryFound find_library(const LibrarySearch& search, const Refuse& refuse);

}  // namespace sparsecore::cuda
