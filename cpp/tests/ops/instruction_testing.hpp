// Ops with each instruction set that this processor has.
#pragma once

#include "ops/instruction_set.hpp"

namespace instseg::testing_instructions {

// Calls body(set) with each set in use; the best one is in use again afterwards.
template <class Body>
void for_each_set(Body&& body) {
  struct Restore {
    ~Restore() { instruction_set_in_use = best_instruction_set(); }
  };
  const Restore restore;
  for (const InstructionSet set : {InstructionSet::plain, InstructionSet::avx2}) {
    if (set == InstructionSet::plain || set == best_instruction_set()) {
      instruction_set_in_use = set;
      body(set);
    }
  }
}

}  // namespace instseg::testing_instructions
