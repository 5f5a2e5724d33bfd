#include "cusparselt_plan.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace sparsecore::cuda::cusparselt {
namespace {

constexpr std::uint32_t kAlignment = 16;  // of each operand, in bytes
// The layers of a model with a batch size or two; each takes 100 KiB of the host's memory.
constexpr std::size_t kMostPlans = 128;

Owned<MatrixDescriptor> dense(const Api& api, const Handle& handle, DataType type,
                              std::int64_t rows, std::int64_t cols, const Layout& layout) {
  return {api.matrix_destroy, [&](MatrixDescriptor* made) {
            api.dense_init(&handle, made, rows, cols, layout.leading, kAlignment, type,
                           layout.order);
          }};
}

// thread_local, as handles are; destroyed when the thread ends.
std::vector<std::unique_ptr<Context>>& contexts() {
  thread_local std::vector<std::unique_ptr<Context>> of_this_thread;
  return of_this_thread;
}

Context* existing(const Api& api, int device) {
  for (const auto& one : contexts()) {
    if (one->is_for(api, device)) return one.get();
  }
  return nullptr;
}

}  // namespace

Owned<MatrixDescriptor> structured(const Api& api, const Handle& handle, DataType type,
                                   std::int64_t rows, std::int64_t cols) {
  return {api.matrix_destroy, [&](MatrixDescriptor* made) {
            api.structured_init(&handle, made, rows, cols, cols, kAlignment, type, Order::kRows,
                                Sparsity::kHalf);
          }};
}

Plan::Plan(const Api& api, const Handle& handle, const Problem& p)
    : api_(api),
      handle_(handle),
      problem_(p),
      s_(structured(api, handle, p.type, p.rows, p.inner)),
      x_(dense(api, handle, p.type, p.inner, p.cols, p.x)),
      out_(dense(api, handle, p.out_type, p.rows, p.cols, p.out)),
      selection_(api.selection_destroy,
                 [this](AlgorithmSelection* made) {
                   describe(&matmul_);
                   api_.selection_init(&handle_, made, &matmul_, DefaultAlgorithm::kDefault);
                 }),
      plan_(api.plan_destroy,
            [this](MatmulPlan* made) {
              if (problem_.algorithm) choose(*problem_.algorithm);
              api_.plan_init(&handle_, made, &matmul_, selection_.get());
            }),
      workspace_bytes_(asked_workspace_bytes()) {}

// C and D are one matrix, as beta is 0: their orders and strides have to be the same.
void Plan::describe(MatmulDescriptor* matmul) const {
  const Compute compute = problem_.type == DataType::kInt8 ? Compute::kInt32 : Compute::kFloat32;
  api_.matmul_init(&handle_, matmul, Operation::kNone, Operation::kNone, s_.get(), x_.get(),
                   out_.get(), out_.get(), compute);
  const auto set = [&](MatmulAttribute attribute, const auto& value) {
    api_.matmul_set(&handle_, matmul, attribute, static_cast<const void*>(&value), sizeof(value));
  };
  const int on = 1;
  if (problem_.ending == Ending::kRelu) set(MatmulAttribute::kRelu, on);
  if (problem_.ending == Ending::kGelu) set(MatmulAttribute::kGelu, on);
  if (problem_.is_scaled) set(MatmulAttribute::kAlphaVector, on);
  if (problem_.bias != nullptr) set(MatmulAttribute::kBias, problem_.bias);
}

void Plan::choose(const Algorithm& algorithm) {
  choose(AlgorithmAttribute::kConfigId, "config_id", algorithm.config_id);
  choose(AlgorithmAttribute::kSplitKMode, "split_k_mode", algorithm.split_k_mode);
  choose(AlgorithmAttribute::kSplitK, "split_k", algorithm.split_k);
  choose(AlgorithmAttribute::kSplitKBuffers, "split_k_buffers", algorithm.split_k_buffers);
}

// Only what differs: the library refuses some of its own defaults, by architecture.
void Plan::choose(AlgorithmAttribute attribute, const char* name, int value) {
  if (chosen(attribute) == value) return;
  const Status status =
      api_.selection_set.status(&handle_, selection_.get(), attribute, &value, sizeof(value));
  if (status == Status::kSuccess) return;
  throw std::invalid_argument("algorithm: cuSPARSELt " + api_.version.text() + " refuses " + name +
                              "=" + std::to_string(value) +
                              " for this product; search for one with this version and device");
}

int Plan::chosen(AlgorithmAttribute attribute) const {
  int value = 0;
  api_.selection_get(&handle_, selection_.get(), attribute, &value, sizeof(value));
  return value;
}

Algorithm Plan::algorithm() const {
  return {chosen(AlgorithmAttribute::kConfigId), chosen(AlgorithmAttribute::kSplitK),
          chosen(AlgorithmAttribute::kSplitKMode), chosen(AlgorithmAttribute::kSplitKBuffers)};
}

std::int64_t Plan::asked_workspace_bytes() const {
  std::size_t bytes = 0;
  api_.get_workspace(&handle_, plan_.get(), &bytes);
  return static_cast<std::int64_t>(bytes);
}

Context::Context(const Api& api, int device)
    : handle_(api.destroy, [&](Handle* made) { api.init(made); }), api_(api), device_(device) {}

Plan& Context::plan(const Problem& problem) {
  const auto found = std::find_if(plans_.begin(), plans_.end(),
                                  [&](const Plan& plan) { return plan.problem() == problem; });
  if (found != plans_.end()) {
    ++counts_.reused;
    plans_.splice(plans_.begin(), plans_, found);
    return plans_.front();
  }
  plans_.emplace_front(api_, handle(), problem);
  ++counts_.made;
  if (plans_.size() > kMostPlans) plans_.pop_back();
  return plans_.front();
}

PlanCounts Context::counts() const {
  PlanCounts counts = counts_;
  counts.held = static_cast<std::int64_t>(plans_.size());
  return counts;
}

Context& context(const Api& api, int device) {
  if (Context* const found = existing(api, device)) return *found;
  return *contexts().emplace_back(std::make_unique<Context>(api, device));
}

PlanCounts plan_counts(const Api& api, int device) {
  const Context* const found = existing(api, device);
  return found == nullptr ? PlanCounts{} : found->counts();
}

}  // namespace sparsecore::cuda::cusparselt
