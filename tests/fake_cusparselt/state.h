// What the fake library counts, what it is told to do, and what it holds against its caller.
#pragma once

#include <cstdint>
#include <string>

#define FAKE_EXPORT extern "C" __attribute__((visibility("default")))

namespace fake {

// cusparseStatus_t
enum Status : int { kSuccess = 0, kInvalidValue = 3, kInternalError = 7, kNotSupported = 10 };

// Counts a call. The status that it has to fail with: that of FAKE_CUSPARSELT_FAIL, which is
// "cusparseLtInit=1" for example, where it names this call.
int entered(const char* call);

// Something that the real library's users must not do. It is remembered for the test.
int violation(const std::string& text);

// The device that a test has made the current one.
int current_device();

}  // namespace fake
