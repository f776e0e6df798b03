#pragma once

#include <string>

namespace instseg::run {

// What figures are of.
struct Environment {
  std::string cpu;  // the name that the system gives; empty where it gives none
  int cores = 0;    // that this process may use
  std::string os;
  std::string date;  // ISO 8601, UTC
};

Environment read_environment();

}  // namespace instseg::run
