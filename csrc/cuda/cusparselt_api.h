// cuSPARSELt's functions as they are called here, declared by its documentation
// (https://docs.nvidia.com/cuda/cusparselt/): its headers are not needed to build.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>

#include "libraries.h"
#include "memory.h"

namespace sparsecore::cuda::cusparselt {

// ---- its enumerations, of which the numbers are its interface ----

enum class Status : int { kSuccess = 0 };  // cusparseStatus_t
enum class DataType : int {                // cudaDataType
  kFloat32 = 0,
  kFloat16 = 2,
  kInt8 = 3,
  kInt32 = 10,
  kBFloat16 = 14,
  kFloat8E4M3 = 28
};
enum class Order : int { kColumns = 1, kRows = 2 };  // whose items are contiguous
enum class Operation : int { kNone = 0 };
enum class Compute : int { kInt32 = 0, kFloat32 = 2 };
enum class Sparsity : int { kHalf = 0 };
enum class DefaultAlgorithm : int { kDefault = 0 };
enum class MatmulAttribute : int { kRelu = 0, kGelu = 3, kAlphaVector = 5, kBias = 8 };
enum class AlgorithmAttribute : int {
  kConfigId = 0,
  kSplitK = 3,
  kSplitKMode = 4,
  kSplitKBuffers = 5
};
enum class Property : int { kMajor = 0, kMinor = 1, kPatch = 2 };  // libraryPropertyType

// ---- what it writes into memory of the caller's ----

// They hold each other's addresses, so they stay where they are. The library's own have 1024 bytes
// (0.7) or 512 (0.8 to 0.10); this leaves room for what comes.
struct alignas(64) Opaque {
  Opaque() = default;
  Opaque(const Opaque&) = delete;
  Opaque& operator=(const Opaque&) = delete;

  std::byte bytes[16384] = {};
};
struct Handle : Opaque {};
struct MatrixDescriptor : Opaque {};
struct MatmulDescriptor : Opaque {};
struct AlgorithmSelection : Opaque {};
struct MatmulPlan : Opaque {};

// ---- its functions ----

struct Version {
  int major = 0, minor = 0, patch = 0;

  friend auto operator<=>(const Version&, const Version&) = default;
  std::string text() const;
};

// Nothing for success; else an error with the library's version, the call, what the status means
// and what to do: std::bad_alloc where memory is short, std::runtime_error for all else.
void check(Status status, const char* call, const Version& version);

// A function of the library by its name; calling it checks what it returns.
template <class... Parameters>
class Function {
 public:
  explicit constexpr Function(const char* name) : name_(name) {}
  void operator()(Parameters... given) const { check(call_(given...), name_, version_); }
  // What it returns, for whoever can do something about it.
  Status status(Parameters... given) const { return call_(given...); }

  const char* name() const { return name_; }
  bool set(void* symbol, const Version& version) {
    call_ = reinterpret_cast<Status (*)(Parameters...)>(symbol);
    version_ = version;
    return symbol != nullptr;
  }

 private:
  const char* name_;
  Status (*call_)(Parameters...) = nullptr;
  Version version_;
};

struct Api {
  Version version;
  std::string path;

  Function<Property, int*> get_property{"cusparseLtGetProperty"};
  Function<Handle*> init{"cusparseLtInit"};
  Function<const Handle*> destroy{"cusparseLtDestroy"};
  Function<const Handle*, MatrixDescriptor*, std::int64_t, std::int64_t, std::int64_t,
           std::uint32_t, DataType, Order>
      dense_init{"cusparseLtDenseDescriptorInit"};
  Function<const Handle*, MatrixDescriptor*, std::int64_t, std::int64_t, std::int64_t,
           std::uint32_t, DataType, Order, Sparsity>
      structured_init{"cusparseLtStructuredDescriptorInit"};
  Function<const MatrixDescriptor*> matrix_destroy{"cusparseLtMatDescriptorDestroy"};
  Function<const Handle*, MatmulDescriptor*, Operation, Operation, const MatrixDescriptor*,
           const MatrixDescriptor*, const MatrixDescriptor*, const MatrixDescriptor*, Compute>
      matmul_init{"cusparseLtMatmulDescriptorInit"};
  Function<const Handle*, MatmulDescriptor*, MatmulAttribute, const void*, std::size_t> matmul_set{
      "cusparseLtMatmulDescSetAttribute"};
  Function<const Handle*, AlgorithmSelection*, const MatmulDescriptor*, DefaultAlgorithm>
      selection_init{"cusparseLtMatmulAlgSelectionInit"};
  Function<const Handle*, AlgorithmSelection*, AlgorithmAttribute, const void*, std::size_t>
      selection_set{"cusparseLtMatmulAlgSetAttribute"};
  Function<const Handle*, const AlgorithmSelection*, AlgorithmAttribute, void*, std::size_t>
      selection_get{"cusparseLtMatmulAlgGetAttribute"};
  Function<const AlgorithmSelection*> selection_destroy{"cusparseLtMatmulAlgSelectionDestroy"};
  Function<const Handle*, MatmulPlan*, const MatmulDescriptor*, const AlgorithmSelection*>
      plan_init{"cusparseLtMatmulPlanInit"};
  Function<const MatmulPlan*> plan_destroy{"cusparseLtMatmulPlanDestroy"};
  Function<const Handle*, const MatmulPlan*, std::size_t*> get_workspace{
      "cusparseLtMatmulGetWorkspace"};
  Function<const Handle*, const MatmulPlan*, const void*, const void*, const void*, const void*,
           const void*, void*, void*, Stream*, std::int32_t>
      matmul{"cusparseLtMatmul"};
  Function<const Handle*, MatmulPlan*, const void*, const void*, const void*, const void*,
           const void*, void*, void*, Stream*, std::int32_t>
      search{"cusparseLtMatmulSearch"};
  Function<const Handle*, const MatrixDescriptor*, std::size_t*, std::size_t*> compressed_size{
      "cusparseLtSpMMACompressedSize2"};
  Function<const Handle*, const MatrixDescriptor*, int, Operation, const void*, void*, void*,
           Stream>
      compress{"cusparseLtSpMMACompress2"};
};

// The library, opened once for each file and never closed: threads that end destroy what they hold
// of it. nullptr and the reason where no copy will do.
struct Loaded {
  const Api* api;
  std::string reason;
};
Loaded load(const std::string& override_path, const std::vector<std::string>& folders);

}  // namespace sparsecore::cuda::cusparselt
