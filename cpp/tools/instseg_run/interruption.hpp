// Ctrl-C ends a measurement, and what was measured until then is told.
#pragma once

#include <stdexcept>

namespace instseg::run {

// Nothing was measured before Ctrl-C.
class Interrupted : public std::runtime_error {
 public:
  Interrupted() : std::runtime_error("interrupted") {}
};

// From now on the first Ctrl-C is only noted, and the second one ends the process at once.
void note_interrupts();

// Whether Ctrl-C was noted.
bool interrupted();

}  // namespace instseg::run
