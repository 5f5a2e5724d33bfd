#include "cusparselt_api.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <utility>

namespace sparsecore::cuda::cusparselt {
namespace {

constexpr const char* kSoname = "libcusparseLt.so.0";
// 0.8.0, which torch 2.11 brings, is slow on H100 and L4 by NVIDIA's notes for 0.8.1, which mends
// it.
constexpr Version kLeast{0, 8, 1}, kLeastByName{0, 8, 0};
constexpr const char* kInstall =
    "install one by pip install 'sparsecore[cuda]', or name a file in SPARSECORE_CUSPARSELT";

// Every function of the table.
template <class Body>
void for_each_function(Api& api, Body&& body) {
  body(api.get_property), body(api.init), body(api.destroy), body(api.dense_init);
  body(api.structured_init), body(api.matrix_destroy), body(api.matmul_init);
  body(api.matmul_set), body(api.selection_init), body(api.selection_set);
  body(api.selection_get), body(api.selection_destroy), body(api.plan_init);
  body(api.plan_destroy), body(api.get_workspace), body(api.matmul), body(api.search);
  body(api.compressed_size), body(api.compress);
}

// By its properties: what cusparseLtGetVersion returns is put together in another way since 0.10.
// False where it does not say.
bool read_version(const Api& api, Version& version) {
  const auto& get = api.get_property;
  return get.status(Property::kMajor, &version.major) == Status::kSuccess &&
         get.status(Property::kMinor, &version.minor) == Status::kSuccess &&
         get.status(Property::kPatch, &version.patch) == Status::kSuccess;
}

// Fills the table; what is against this copy, or nothing.
std::string refused(const SharedLibrary& library, const Version& least, Api& api) {
  if (!api.get_property.set(library.find(api.get_property.name()), {})) {
    return std::string("it is not cuSPARSELt: it has no ") + api.get_property.name();
  }
  if (!read_version(api, api.version)) return "it does not say which version it is";
  if (api.version < least || api.version.major != least.major) {
    return "it is version " + api.version.text() + ", expected " + least.text() +
           " or a later one of major version 0";
  }
  std::string lacks;
  for_each_function(api, [&](auto& function) {
    if (!function.set(library.find(function.name()), api.version)) lacks = function.name();
  });
  api.path = library.path();
  return lacks.empty() ? "" : "version " + api.version.text() + " lacks " + lacks;
}

class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(const std::string& text) : text_(text) {}
  const char* what() const noexcept override { return text_.what(); }

 private:
  std::runtime_error text_;  // copied without throwing
};

struct Meaning {
  int status;
  const char* words;
};
constexpr Meaning kMeanings[] = {
    {1, "not initialised; it found no driver or no device: see what nvidia-smi says"},
    {2, "out of memory; free some, or multiply in parts"},
    {3, "an invalid value; this version may ask for more than the ones that were known"},
    {4, "wrong architecture; it needs a device of compute capability 8.0, for float8 8.9"},
    {5, "memory could not be mapped; see whether the device works at all"},
    {6, "a kernel failed; CUDA_LAUNCH_BLOCKING=1 shows which"},
    {7, "an internal error; see whether the driver is recent enough for this version"},
    {8, "a matrix type that it does not support; use another dtype"},
    {9, "a zero pivot, which no product has; see whether this is cuSPARSELt"},
    {10, "not supported; it has no kernel for these dtypes, sizes and orders on this device"},
    {11, "insufficient resources; free memory, or multiply in parts"},
};

}  // namespace

std::string Version::text() const {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

void check(Status status, const char* call, const Version& version) {
  if (status == Status::kSuccess) return;
  const int number = static_cast<int>(status);
  const char* words = "a status that its documentation does not have";
  for (const Meaning& meaning : kMeanings) {
    if (meaning.status == number) words = meaning.words;
  }
  const std::string text = "cuSPARSELt " + version.text() + ": " + call + " returned status " +
                           std::to_string(number) + ": " + words;
  if (number == 2 || number == 11) throw OutOfMemory(text);
  throw std::runtime_error(text);
}

Loaded load(const std::string& override_path, const std::vector<std::string>& folders) {
  static std::mutex mutex;
  // Never destroyed: threads may end after objects of the process are.
  static auto& opened = *std::make_unique<std::vector<std::unique_ptr<Api>>>().release();
  const std::lock_guard lock(mutex);
  std::unique_ptr<Api> api;
  const Version& least = override_path.empty() ? kLeast : kLeastByName;
  LibraryFound found =
      find_library({kSoname, override_path, folders}, [&](const SharedLibrary& library) {
        api = std::make_unique<Api>();
        return refused(library, least, *api);
      });
  if (!found.library) {
    if (found.reason.empty()) found.reason = std::string(kSoname) + " was not found";
    return {nullptr, found.reason + "; " + kInstall};
  }
  const auto same = [&](const auto& other) { return other->path == api->path; };
  const auto before = std::find_if(opened.begin(), opened.end(), same);
  if (before != opened.end()) return {before->get(), ""};
  found.library->keep();
  opened.push_back(std::move(api));
  return {opened.back().get(), ""};
}

}  // namespace sparsecore::cuda::cusparselt
