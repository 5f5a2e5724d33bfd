#include "libraries.h"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <utility>

namespace sparsecore::cuda {
namespace {

std::string path_of(void* handle) {
  link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, static_cast<void*>(&map)) != 0) return {};
  char resolved[PATH_MAX];
  return realpath(map->l_name, resolved) != nullptr ? resolved : map->l_name;
}

struct Place {
  std::string name;
  bool only_if_loaded, may_be_absent;
};

std::vector<Place> places_of(const LibrarySearch& search) {
  if (!search.override_path.empty()) return {{search.override_path, false, false}};
  std::vector<Place> places = {{search.soname, true, true}};
  for (const std::string& folder : search.folders) {
    std::string file = folder + "/" + search.soname;
    if (access(file.c_str(), F_OK) == 0) places.push_back({std::move(file), false, false});
  }
  places.push_back({search.soname, false, true});
  return places;
}

}  // namespace

SharedLibrary::SharedLibrary(void* handle) : handle_(handle), path_(path_of(handle)) {}

SharedLibrary::SharedLibrary(SharedLibrary&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), path_(std::move(other.path_)) {}

SharedLibrary::~SharedLibrary() {
  if (handle_ != nullptr) dlclose(handle_);
}

std::optional<SharedLibrary> SharedLibrary::open(const std::string& name, bool only_if_loaded,
                                                 std::string& why) {
  const int flags = RTLD_NOW | RTLD_LOCAL | (only_if_loaded ? RTLD_NOLOAD : 0);
  void* const handle = dlopen(name.c_str(), flags);
  if (handle != nullptr) return SharedLibrary(handle);
  const char* const error = dlerror();
  why = error != nullptr ? error : "it is not loaded";
  return std::nullopt;
}

void* SharedLibrary::find(const char* symbol) const { return dlsym(handle_, symbol); }

void SharedLibrary::keep() { handle_ = nullptr; }

LibraryFound find_library(const LibrarySearch& search, const Refuse& refuse) {
  LibraryFound found;
  std::vector<std::string> seen;
  const auto note = [&](const std::string& path, const std::string& why) {
    found.reason += (found.reason.empty() ? "" : "; ") + path + ": " + why;
  };
  for (const Place& place : places_of(search)) {
    std::string why;
    std::optional<SharedLibrary> library =
        SharedLibrary::open(place.name, place.only_if_loaded, why);
    if (!library) {
      if (!place.may_be_absent) note(place.name, why);
      continue;
    }
    if (std::find(seen.begin(), seen.end(), library->path()) != seen.end()) continue;
    seen.push_back(library->path());
    why = refuse(*library);
    if (why.empty()) return {std::move(library), ""};
    note(library->path(), why);
  }
  return found;
}

}  // namespace sparsecore::cuda
