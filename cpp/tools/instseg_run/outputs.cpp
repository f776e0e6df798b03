#include "instseg_run/outputs.hpp"

#include <fstream>

#include "instseg/error.hpp"

namespace instseg::run {

void write_atomically(const std::filesystem::path& file,
                      const std::function<void(std::ostream&)>& write) {
  std::filesystem::path temporary = file;
  temporary += ".part";
  {
    std::ofstream stream(temporary, std::ios::binary);
    write(stream);
    stream.flush();
    if (!stream) {
      throw Error(ErrorCode::io, "cannot write " + temporary.string());
    }
  }
  std::error_code error;
  std::filesystem::rename(temporary, file, error);
  if (error) {
    throw Error(ErrorCode::io, "cannot write " + file.string() + ": " + error.message());
  }
}

void check_folder(const std::filesystem::path& file) {
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    throw Error(ErrorCode::io,
                "cannot write " + file.string() + ": there is no folder " + folder.string());
  }
}

}  // namespace instseg::run
