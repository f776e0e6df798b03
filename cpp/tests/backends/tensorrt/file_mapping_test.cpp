#include "backends/tensorrt/file_mapping.hpp"

#include <string_view>

#include "backends/plugin_status.hpp"
#include "support/testing.hpp"

namespace instseg::tensorrt_backend {
namespace {

TEST(FileMappingTest, PartOfAFile) {
  const instseg::testing::TemporaryFolder folder;
  const std::string file = folder.path() / "plan";
  const std::string text = std::string(10'000, 'a') + "the plan" + std::string(10, 'b');
  instseg::testing::write_file(file, text);
  const FileMapping mapping(file, 10'000, 8);
  EXPECT_EQ(std::string_view(static_cast<const char*>(mapping.data()), mapping.bytes()),
            "the plan");
  EXPECT_NO_THROW(FileMapping(file, 10'000, 18));
  for (const auto& [offset, bytes] : {std::pair{10'000U, 19U}, {10'019U, 1U}, {0U, 0U}}) {
    try {
      const FileMapping wrong(file, offset, bytes);
      ADD_FAILURE() << offset << " " << bytes;
    } catch (const StatusError& error) {
      EXPECT_EQ(error.status(), INSTSEG_STATUS_IO);
      EXPECT_NE(std::string(error.what()).find("it has 10018 bytes"), std::string::npos);
    }
  }
  EXPECT_THROW(FileMapping(file, 1, ~std::uint64_t{0}), StatusError);
  EXPECT_THROW(FileMapping(folder.path() / "none", 0, 1), StatusError);
}

}  // namespace
}  // namespace instseg::tensorrt_backend
