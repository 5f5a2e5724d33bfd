// Algorithm selections and plans of the fake library.
#include "plans.h"

#include <cstring>
#include <mutex>
#include <set>

namespace fake {
namespace {

constexpr int kConfigId = 0, kConfigs = 1, kIterations = 2, kSplitK = 3, kSplitKMode = 4;
constexpr int kMostConfigs = 4;

std::mutex mutex;
std::set<const Plan*> plans;

}  // namespace

int unused_by_plans(const void* object, const char* call) {
  const std::lock_guard lock(mutex);
  for (const Plan* const plan : plans) {
    const Matmul& m = *plan->matmul;
    if (object == plan->selection || object == m.a || object == m.b || object == m.d) {
      return violation(std::string(call) + ": a plan outlives what it refers to");
    }
  }
  return kSuccess;
}

}  // namespace fake

FAKE_EXPORT int cusparseLtMatmulAlgSelectionInit(const fake::Handle* handle, void* memory,
                                                 const fake::Matmul* matmul, int algorithm) {
  constexpr const char* kCall = "cusparseLtMatmulAlgSelectionInit";
  if (const int failed = fake::entered(kCall)) return failed;
  if (const int failed = fake::used_here(handle, kCall)) return failed;
  if (const int failed = fake::used(matmul, kCall)) return failed;
  if (algorithm != 0) return fake::kInvalidValue;
  auto* const selection = fake::made<fake::Selection>(memory);
  selection->matmul = matmul;
  selection->attributes[fake::kConfigs] = fake::kMostConfigs;
  selection->attributes[fake::kIterations] = 5;
  selection->attributes[fake::kSplitK] = 1;
  selection->attributes[fake::kSplitKMode] = 1;
  fake::count_living(1);
  return fake::kSuccess;
}

// As on sm_90, which refuses even to be told its default of the buffers.
FAKE_EXPORT int cusparseLtMatmulAlgSetAttribute(const fake::Handle* handle,
                                                fake::Selection* selection, int attribute,
                                                const void* data, std::size_t size) {
  constexpr const char* kCall = "cusparseLtMatmulAlgSetAttribute";
  if (const int failed = fake::entered(kCall)) return failed;
  if (const int failed = fake::used_here(handle, kCall)) return failed;
  if (const int failed = fake::used(selection, kCall)) return failed;
  if (attribute < 0 || attribute > 4 || size != sizeof(int)) return fake::kInvalidValue;
  int value = 0;
  std::memcpy(&value, data, size);
  const bool is_known = attribute == fake::kConfigId ? value >= 0 && value < fake::kMostConfigs
                        : attribute == fake::kSplitK ? value == 1 || value == -1
                                                     : attribute == fake::kSplitKMode;
  if (!is_known) return fake::kInvalidValue;
  selection->attributes[attribute] = value;
  return fake::kSuccess;
}

FAKE_EXPORT int cusparseLtMatmulAlgGetAttribute(const fake::Handle* handle,
                                                const fake::Selection* selection, int attribute,
                                                void* data, std::size_t size) {
  constexpr const char* kCall = "cusparseLtMatmulAlgGetAttribute";
  if (const int failed = fake::entered(kCall)) return failed;
  if (const int failed = fake::used_here(handle, kCall)) return failed;
  if (const int failed = fake::used(selection, kCall)) return failed;
  if (attribute < 0 || attribute > 5 || size != sizeof(int)) return fake::kInvalidValue;
  std::memcpy(data, &selection->attributes[attribute], size);
  return fake::kSuccess;
}

FAKE_EXPORT int cusparseLtMatmulAlgSelectionDestroy(const fake::Selection* selection) {
  constexpr const char* kCall = "cusparseLtMatmulAlgSelectionDestroy";
  if (const int failed = fake::entered(kCall)) return failed;
  if (const int failed = fake::used(selection, kCall)) return failed;
  if (const int failed = fake::unused_by_plans(selection, kCall)) return failed;
  const_cast<fake::Selection*>(selection)->magic = 0;
  fake::count_living(-1);
  return fake::kSuccess;
}

FAKE_EXPORT int cusparseLtMatmulPlanInit(const fake::Handle* handle, void* memory,
                                         const fake::Matmul* matmul, fake::Selection* selection) {
  constexpr const char* kCall = "cusparseLtMatmulPlanInit";
  if (const int failed = fake::entered(kCall)) return failed;
  if (const int failed = fake::used_here(handle, kCall)) return failed;
  if (const int failed = fake::used(matmul, kCall)) return failed;
  if (const int failed = fake::used(selection, kCall)) return failed;
  if (selection->matmul != matmul) return fake::kInvalidValue;
  auto* const plan = fake::made<fake::Plan>(memory);
  plan->matmul = matmul;
  plan->selection = selection;
  const std::lock_guard lock(fake::mutex);
  fake::plans.insert(plan);
  fake::count_living(1);
  return fake::kSuccess;
}

FAKE_EXPORT int cusparseLtMatmulPlanDestroy(const fake::Plan* plan) {
  constexpr const char* kCall = "cusparseLtMatmulPlanDestroy";
  if (const int failed = fake::entered(kCall)) return failed;
  if (const int failed = fake::used(plan, kCall)) return failed;
  const std::lock_guard lock(fake::mutex);
  fake::plans.erase(plan);
  const_cast<fake::Plan*>(plan)->magic = 0;
  fake::count_living(-1);
  return fake::kSuccess;
}
