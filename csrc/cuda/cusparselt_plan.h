// The library's objects with their lifetimes: descriptors, plans, and a handle with the plans made
// by it.
#pragma once

#include <cstdint>
#include <list>

#include "cusparselt_api.h"
#include "cusparselt_problem.h"

namespace sparsecore::cuda::cusparselt {

// One of the library's objects, which it is asked to destroy with this. It stays where it is made.
template <class Object>
class Owned {
 public:
  template <class Init>
  Owned(const Function<const Object*>& destroy, Init&& init) : destroy_(destroy) {
    init(&object_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  // There is nobody to tell that it could not be destroyed.
  ~Owned() { static_cast<void>(destroy_.status(&object_)); }

  Object* get() { return &object_; }
  const Object* get() const { return &object_; }

 private:
  const Function<const Object*>& destroy_;
  Object object_;
};

// The structured matrix, before and after it is compressed: in rows without gaps.
Owned<MatrixDescriptor> structured(const Api& api, const Handle& handle, DataType type,
                                   std::int64_t rows, std::int64_t cols);

// A plan, and what it refers to, which is destroyed after it: hence the order of its members.
class Plan {  // NOLINT(clang-analyzer-optin.performance.Padding)
 public:
  Plan(const Api& api, const Handle& handle, const Problem& problem);

  const Problem& problem() const { return problem_; }
  MatmulPlan* get() { return plan_.get(); }
  std::int64_t workspace_bytes() const { return workspace_bytes_; }
  // What was asked for, the library's choice, or what a search put in its place.
  Algorithm algorithm() const;

 private:
  void describe(MatmulDescriptor* matmul) const;
  void choose(const Algorithm& algorithm);
  void choose(AlgorithmAttribute attribute, const char* name, int value);
  int chosen(AlgorithmAttribute attribute) const;
  std::int64_t asked_workspace_bytes() const;

  const Api& api_;
  const Handle& handle_;
  const Problem problem_;
  Owned<MatrixDescriptor> s_, x_, out_;
  MatmulDescriptor matmul_;
  Owned<AlgorithmSelection> selection_;
  Owned<MatmulPlan> plan_;
  std::int64_t workspace_bytes_;
};

struct PlanCounts {
  std::int64_t made = 0, reused = 0, held = 0;
};

// What one thread has of the library on one device. Threads do not share handles, nor what was made
// with them.
class Context {
 public:
  // For the current device. The library finds out here whether there is a driver.
  Context(const Api& api, int device);

  bool is_for(const Api& api, int device) const { return &api_ == &api && device_ == device; }
  const Handle& handle() const { return *handle_.get(); }
  // Kept for the next call; the one that was not used for longest makes room.
  Plan& plan(const Problem& problem);
  PlanCounts counts() const;

 private:
  Owned<Handle> handle_;
  const Api& api_;
  std::list<Plan> plans_;  // the one used last comes first
  PlanCounts counts_;
  int device_;
};

// The calling thread's, made by its first call. `device` is the current one.
Context& context(const Api& api, int device);
// The calling thread's plans so far.
PlanCounts plan_counts(const Api& api, int device);

}  // namespace sparsecore::cuda::cusparselt
