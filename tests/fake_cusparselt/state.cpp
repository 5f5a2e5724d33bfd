#include "state.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <string>

#include "objects.h"

namespace fake {
namespace {

std::mutex mutex;
std::map<std::string, std::int64_t> calls;
std::int64_t violations = 0;
std::string last_violation;
std::atomic<int> device{0};

std::string beside_this_library(const char* name) {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&current_device), &info) == 0) return {};
  const std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/') + 1) + name;
}

// Of the file "version" beside this copy, else of the environment, else the oldest that will do.
std::string version() {
  std::string text;
  if (std::getline(std::ifstream(beside_this_library("version")), text)) return text;
  const char* const given = std::getenv("FAKE_CUSPARSELT_VERSION");
  return given != nullptr ? given : "0.8.1";
}

}  // namespace

int entered(const char* call) {
  const std::lock_guard lock(mutex);
  ++calls[call];
  const char* const fail = std::getenv("FAKE_CUSPARSELT_FAIL");
  if (fail == nullptr) return kSuccess;
  const std::string text = fail, name = std::string(call) + "=";
  return text.rfind(name, 0) == 0 ? std::atoi(text.c_str() + name.size()) : int{kSuccess};
}

int violation(const std::string& text) {
  const std::lock_guard lock(mutex);
  ++violations;
  last_violation = text;
  return kInternalError;
}

int current_device() { return device; }

}  // namespace fake

// ---- what tests ask ----

FAKE_EXPORT void fake_cusparselt_set_device(int device) { fake::device = device; }
FAKE_EXPORT std::int64_t fake_cusparselt_calls(const char* call) {
  const std::lock_guard lock(fake::mutex);
  const auto found = fake::calls.find(call);
  return found == fake::calls.end() ? 0 : found->second;
}
FAKE_EXPORT std::int64_t fake_cusparselt_violations() {
  const std::lock_guard lock(fake::mutex);
  return fake::violations;
}
FAKE_EXPORT const char* fake_cusparselt_last_violation() { return fake::last_violation.c_str(); }
FAKE_EXPORT std::int64_t fake_cusparselt_living() { return fake::living(); }

// ---- the library's own ----

FAKE_EXPORT int cusparseLtGetProperty(int property, int* value) {
  if (const int failed = fake::entered("cusparseLtGetProperty")) return failed;
  int parts[3] = {};
  if (property < 0 || property > 2 || value == nullptr) return fake::kInvalidValue;
  std::sscanf(fake::version().c_str(), "%d.%d.%d", &parts[0], &parts[1], &parts[2]);
  *value = parts[property];
  return fake::kSuccess;
}
