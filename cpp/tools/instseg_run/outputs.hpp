// Files that are written whole or not at all.
#pragma once

#include <filesystem>
#include <functional>
#include <ostream>

namespace instseg::run {

// `write` fills a file beside `file`, which is then renamed. Throws Error(io).
void write_atomically(const std::filesystem::path& file,
                      const std::function<void(std::ostream&)>& write);

// Throws Error(io) where the folder of `file` does not exist: before the work whose result it shall
// hold.
void check_folder(const std::filesystem::path& file);

}  // namespace instseg::run
