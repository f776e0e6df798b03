#include "instseg_run/interruption.hpp"

#include <atomic>
#include <csignal>

namespace instseg::run {
namespace {

std::atomic<bool> noted = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler must not take a lock");

extern "C" void note_interrupt(int /*signal*/) {
  noted = true;
  std::signal(SIGINT, SIG_DFL);
}

}  // namespace

void note_interrupts() { std::signal(SIGINT, note_interrupt); }

bool interrupted() { return noted; }

}  // namespace instseg::run
