// Calls of several streams at a time.
#pragma once

#include <functional>

namespace instseg::run {

// True when the work is to end early, as after Ctrl-C. Asked from any thread.
using Stopped = std::function<bool()>;

// Each of `streams` threads calls `step` again and again until it returns false; with one stream,
// on the caller's thread. When a step throws no stream begins another one; throws that first
// exception when all have ended.
void run_in_streams(int streams, const std::function<bool()>& step);

}  // namespace instseg::run
