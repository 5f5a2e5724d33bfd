// Targets, threads, fork, interrupts, CUDA's status, and how C++ errors become Python's.
#include "../cuda/runtime.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <utility>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "../dispatch.h"
#include "../ops.h"
#include "../parallel.h"
#include "gil.h"
#include "registration.h"

namespace sparsecore::bindings {
namespace {

namespace py = pybind11;

// Only the main thread runs Python's signal handlers. Others do not even ask for the GIL: while the
// interpreter is being closed, that would end them in the middle of their work (see gil.h).
bool is_main_thread() {
#if defined(__linux__)
  return syscall(SYS_gettid) == getpid();
#else
  return true;
#endif
}

bool signal_pending() {
  if (!is_main_thread()) return false;
  const py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;  // the raised exception stays set for translate()
}

void translate(std::exception_ptr error) {
  if (!error) return;
  try {
    std::rethrow_exception(std::move(error));
  } catch (const Interrupted&) {
    if (PyErr_Occurred() == nullptr) PyErr_SetNone(PyExc_KeyboardInterrupt);
  } catch (const TypeMismatch& e) {
    PyErr_SetString(PyExc_TypeError, e.what());
  } catch (const std::length_error&) {  // more elements than memory has addresses
    PyErr_NoMemory();
  }
}

}  // namespace

void register_runtime(py::module_& module) {
  py::register_exception_translator(translate);
  install_fork_remedy();
  set_interrupt_check(signal_pending);
  module.def("target", [] { return std::string(active_target()); });
  module.def("supported_targets", supported_targets);
  module.def("compiled_targets", compiled_targets);
  module.def("set_target", [](const std::string& name) { set_target(name); }, py::arg("name"));
  module.def(
      "tune_as_amd",
      [](std::optional<bool> is_amd) {
        set_processor_maker(is_amd ? std::optional(*is_amd ? Maker::kAmd : Maker::kOther)
                                   : std::nullopt);
      },
      py::arg("is_amd"));
  module.attr("cuda_is_emulated") = bool{SPARSECORE_CUDA_IS_EMULATED};
  module.def("cuda_status", [] {
    cuda::Status status;
    without_gil([&] { status = cuda::status(); });  // it waits for the device
    return std::pair(status.available, status.reason);
  });
}

}  // namespace sparsecore::bindings
