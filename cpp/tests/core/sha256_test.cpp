#include "core/sha256.hpp"

#include <string_view>

#include "support/testing.hpp"

namespace instseg {
namespace {

std::string digest(std::string_view text, std::size_t step) {
  Sha256 hash;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, step);
    hash.update(std::as_bytes(std::span(part)));
    text.remove_prefix(part.size());
  }
  return hash.finish();
}

// FIPS 180-4 examples.
TEST(Sha256, StandardVectors) {
  EXPECT_EQ(digest("", 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest("abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 64),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(digest(std::string(1'000'000, 'a'), 1 << 16),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotDependOnHowTheDataArrives) {
  for (std::size_t size = 0; size < 200; size += 1) {
    const std::string text(size, 'x');
    const std::string whole = digest(text, 1024);
    for (const std::size_t step : {1, 3, 55, 63, 64, 65}) {
      EXPECT_EQ(digest(text, step), whole) << size << " bytes in steps of " << step;
    }
  }
}

TEST(Sha256, File) {
  const testing::TemporaryFolder folder;
  testing::write_file(folder.path() / "abc", "abc");
  EXPECT_EQ(sha256_file(folder.path() / "abc"), digest("abc", 3));
  testing::expect_error(ErrorCode::io, {"cannot open", "missing"},
                        [&] { (void)sha256_file(folder.path() / "missing"); });
}

}  // namespace
}  // namespace instseg
