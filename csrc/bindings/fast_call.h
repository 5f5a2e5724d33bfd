// Functions that are called by position, with nothing between Python and them. (pybind11's
// dispatcher, which tries overloads and converts each argument to its C++ type, takes 0.3 us for
// the ten arguments of a product: as long as a small one lasts.)
#pragma once

#include <cxxabi.h>
#include <pybind11/pybind11.h>

namespace sparsecore::bindings {

// What a call was given: borrowed for its time, None where left out.
class Arguments {
 public:
  Arguments(PyObject* const* given, Py_ssize_t count) : given_(given), count_(count) {}
  pybind11::handle operator[](Py_ssize_t i) const { return i < count_ ? given_[i] : Py_None; }
  Arguments from(Py_ssize_t first) const {
    return first < count_ ? Arguments(given_ + first, count_ - first) : Arguments(given_, 0);
  }

 private:
  PyObject* const* given_;
  Py_ssize_t count_;
};

// The C function of `kBody`: errors become Python's as in functions that pybind11 wraps.
template <pybind11::object (*kBody)(const Arguments&)>
PyObject* fast_entry(PyObject*, PyObject* const* given, Py_ssize_t count) {
  try {
    return kBody({given, count}).release().ptr();
  } catch (abi::__forced_unwind&) {  // see gil.h
    throw;
  } catch (...) {
    pybind11::detail::try_translate_exceptions();
    return nullptr;
  }
}

// An entry of the table that PyModule_AddFunctions takes; `doc` begins with the signature.
template <pybind11::object (*kBody)(const Arguments&)>
PyMethodDef fast_function(const char* name, const char* doc) {
  const auto entry = reinterpret_cast<void (*)()>(&fast_entry<kBody>);
  return {name, reinterpret_cast<PyCFunction>(entry), METH_FASTCALL, doc};
}

}  // namespace sparsecore::bindings
