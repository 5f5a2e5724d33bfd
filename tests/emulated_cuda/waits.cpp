// How often something waited for the device, for tests to read.
#include <atomic>

#include "simt.h"

namespace simt {
namespace {

std::atomic<long> counts[3];
std::atomic<int (*)()> question;

}  // namespace

void note(Waiting what) {
  ++counts[static_cast<int>(what)];
  int (*const ask)() = question;
  if (ask != nullptr && ask() != 0) ++counts[2];
}

}  // namespace simt

// For ctypes. Of kind 0 synchronizations, 1 copies to the host, 2 those of both at which the
// question was answered with something else than 0.
extern "C" {
[[gnu::visibility("default"), gnu::used]] long simt_waits(int kind) {
  return kind >= 0 && kind < 3 ? simt::counts[kind].load() : -1;
}
[[gnu::visibility("default"), gnu::used]] void simt_note_synchronization() {
  simt::note(simt::Waiting::kSynchronization);
}
[[gnu::visibility("default"), gnu::used]] void simt_ask_at_waits(int (*question)()) {
  simt::question = question;
}
}
