// Which plans live, and what they refer to.
#pragma once

#include "objects.h"

namespace fake {

// kSuccess, or a violation where a plan still refers to what is about to be destroyed.
int unused_by_plans(const void* object, const char* call);

}  // namespace fake
