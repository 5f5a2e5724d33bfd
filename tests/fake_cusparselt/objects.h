// What the fake library writes into its caller's structures. Like the real one's they refer to each
// other by address; unlike those they know when they were copied, destroyed, or outlived.
#pragma once

#include <cstdint>
#include <new>
#include <thread>

#include "state.h"

namespace fake {

// cudaDataType
enum Type : int { kFloat32 = 0, kFloat16 = 2, kInt8 = 3, kInt32 = 10, kBFloat16 = 14, kE4M3 = 28 };
enum Order : int { kColumns = 1, kRows = 2 };

inline std::int64_t bytes_of(int type) {
  if (type == kFloat32 || type == kInt32) return 4;
  if (type == kFloat16 || type == kBFloat16) return 2;
  return type == kInt8 || type == kE4M3 ? 1 : 0;
}

struct Base {
  std::uint64_t magic;
  const void* self;
};

struct Handle : Base {
  static constexpr std::uint64_t kMagic = 0x48414e444c450001;
  static constexpr const char* kName = "handle";
  std::thread::id thread;
  int device;
};

struct Matrix : Base {
  static constexpr std::uint64_t kMagic = 0x4d41545249580002;
  static constexpr const char* kName = "matrix descriptor";
  std::int64_t rows, cols, leading;
  int type, order;
  bool is_structured;

  std::int64_t at(std::int64_t row, std::int64_t column) const {
    return order == kRows ? row * leading + column : column * leading + row;
  }
};

struct Matmul : Base {
  static constexpr std::uint64_t kMagic = 0x4d41544d554c0003;
  static constexpr const char* kName = "matmul descriptor";
  const Matrix *a, *b, *d;
  int compute, relu, gelu, alpha_vector;
  const void* bias;
};

struct Selection : Base {
  static constexpr std::uint64_t kMagic = 0x53454c4543540004;
  static constexpr const char* kName = "algorithm selection";
  const Matmul* matmul;
  int attributes[6];  // in the order of cusparseLtMatmulAlgAttribute_t
};

struct Plan : Base {
  static constexpr std::uint64_t kMagic = 0x504c414e00000005;
  static constexpr const char* kName = "plan";
  const Matmul* matmul;
  Selection* selection;
};

static_assert(sizeof(Handle) <= 512 && sizeof(Matrix) <= 512 && sizeof(Matmul) <= 512 &&
              sizeof(Selection) <= 512 && sizeof(Plan) <= 512);

template <class Object>
bool lives(const Object* object) {
  return object != nullptr && object->magic == Object::kMagic && object->self == object;
}

// kSuccess, or a violation that says which object is wrong in which call.
template <class Object>
int used(const Object* object, const char* call) {
  if (lives(object)) return kSuccess;
  const char* const what = object == nullptr                 ? " is absent"
                           : object->magic != Object::kMagic ? " is destroyed or was never made"
                                                             : " was copied to another address";
  return violation(std::string(call) + ": the " + Object::kName + what);
}

// The handle of this thread and of the current device.
int used_here(const Handle* handle, const char* call);

// Makes an object in the caller's memory; the rest of it is zero.
template <class Object>
Object* made(void* memory) {
  auto* const object = new (memory) Object{};
  object->magic = Object::kMagic;
  object->self = memory;
  return object;
}

// How many handles, matrix descriptors, selections and plans were made and not destroyed.
std::int64_t living();
void count_living(int difference);

}  // namespace fake
