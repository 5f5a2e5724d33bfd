// Without the GIL, and back to it.
#pragma once

#include <cxxabi.h>
#include <pybind11/pybind11.h>

#include <chrono>
#include <exception>
#include <thread>

namespace sparsecore::bindings {

inline bool is_finalizing() {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

// Stops a daemon thread that outlived the interpreter, as Python itself does from 3.14 on: before,
// asking for the GIL then unwinds the thread's stack by force, through objects that need the GIL.
inline void stop_if_finalizing() {
  while (is_finalizing()) std::this_thread::sleep_for(std::chrono::hours(1));
}

// What body() throws, or nothing. An unwinding by force goes on.
template <class Body>
std::exception_ptr thrown_by(Body& body) {
  try {
    body();
  } catch (abi::__forced_unwind&) {
    throw;
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

// Runs body() without the GIL. (A class whose destructor asks for it back, such as
// py::gil_scoped_release, aborts the process where the interpreter begins to close at that moment:
// neither a destructor nor a catch (...) may see a stack that is unwound by force.)
template <class Body>
void without_gil(Body body) {
  PyThreadState* const state = PyEval_SaveThread();
  const std::exception_ptr error = thrown_by(body);
  stop_if_finalizing();
  PyEval_RestoreThread(state);
  if (error) std::rethrow_exception(error);
}

// Runs body() with the GIL, for as long as that takes: inside of without_gil, or where it is held.
template <class Body>
void with_gil(Body body) {
  stop_if_finalizing();
  const PyGILState_STATE before = PyGILState_Ensure();
  const std::exception_ptr error = thrown_by(body);
  PyGILState_Release(before);
  if (error) std::rethrow_exception(error);
}

}  // namespace sparsecore::bindings
