#include "bundle/engine_file.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <span>

#include "bundle/json_value.hpp"
#include "core/sha256.hpp"
#include "instseg/error.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "ISRTENG1";
constexpr std::uint64_t kPrefixBytes = 16;  // magic and length
constexpr std::uint64_t kMaxHeaderBytes = std::uint64_t{1} << 20U;
constexpr std::uint64_t kPlanAlignment = 64;
constexpr std::int64_t kFormat = 1;
constexpr std::size_t kMaxProfiles = 64;
constexpr std::size_t kMaxRank = 8;
constexpr std::int64_t kMaxSize = std::int64_t{1} << 30;
constexpr std::int64_t kMaxSm = 1000;

[[noreturn]] void fail(const fs::path& path, const std::string& problem) {
  throw Error(ErrorCode::bad_bundle, path.string() + ": " + problem +
                                         "; the engine file is damaged or of another kind: "
                                         "build it again with instseg-export");
}

// A value of the header that knows its own name.
class HeaderNode {
 public:
  HeaderNode(const fs::path& path, std::string key, const JsonValue& value)
      : path_(path), key_(std::move(key)), value_(value) {}

  [[nodiscard]] HeaderNode at(std::string_view name) const {
    std::string key = key_.empty() ? std::string(name) : key_ + "." + std::string(name);
    const JsonValue* const found = value_.find(name);
    if (found == nullptr) {
      fail(path_, "its header has no key '" + key + "'");
    }
    return {path_, std::move(key), *found};
  }

  [[noreturn]] void expected(const std::string& what) const {
    fail(path_, "key '" + key_ + "' of its header must be " + what);
  }

  [[nodiscard]] std::string text() const {
    const std::string* const text = value_.text();
    if (text == nullptr || text->empty() || text->find('\0') != std::string::npos) {
      expected("text");
    }
    return *text;
  }

  [[nodiscard]] std::int64_t integer(std::int64_t min, std::int64_t max) const {
    const std::int64_t* const integer = value_.integer();
    if (integer == nullptr || *integer < min || *integer > max) {
      expected("an integer in [" + std::to_string(min) + ", " + std::to_string(max) + "]");
    }
    return *integer;
  }

  [[nodiscard]] std::string sha256() const {
    const std::string digest = text();
    if (digest.size() != 64 || digest.find_first_not_of("0123456789abcdef") != std::string::npos) {
      expected("64 lower-case hexadecimal digits");
    }
    return digest;
  }

  [[nodiscard]] std::vector<HeaderNode> items(std::size_t min, std::size_t max) const {
    const JsonValue::Array* const array = value_.array();
    if (array == nullptr || array->size() < min || array->size() > max) {
      expected("a list of " + std::to_string(min) + " to " + std::to_string(max) + " values");
    }
    std::vector<HeaderNode> result;
    for (const JsonValue& item : *array) {
      result.emplace_back(path_, key_ + "[" + std::to_string(result.size()) + "]", item);
    }
    return result;
  }

  [[nodiscard]] const JsonValue::Object& object() const {
    const JsonValue::Object* const object = value_.object();
    if (object == nullptr) {
      expected("an object");
    }
    return *object;
  }

  [[nodiscard]] const JsonValue& value() const { return value_; }

 private:
  const fs::path& path_;
  std::string key_;
  const JsonValue& value_;
};

std::vector<std::int64_t> read_sizes(const HeaderNode& node) {
  std::vector<std::int64_t> sizes;
  for (const HeaderNode& item : node.items(0, kMaxRank)) {
    sizes.push_back(item.integer(0, kMaxSize));
  }
  return sizes;
}

ShapeRange read_range(const HeaderNode& node) {
  ShapeRange range{read_sizes(node.at("min")), read_sizes(node.at("opt")),
                   read_sizes(node.at("max"))};
  bool ordered = range.min.size() == range.opt.size() && range.opt.size() == range.max.size();
  for (std::size_t i = 0; ordered && i < range.min.size(); ++i) {
    ordered = range.min[i] <= range.opt[i] && range.opt[i] <= range.max[i];
  }
  if (!ordered) {
    node.expected("shapes of one rank with min <= opt <= max");
  }
  return range;
}

std::string option_text(const HeaderNode& node) {
  const JsonValue& value = node.value();
  if (const std::string* const text = value.text()) {
    return *text;
  }
  if (const std::int64_t* const integer = value.integer()) {
    return std::to_string(*integer);
  }
  if (const double* const real = value.real()) {
    return std::to_string(*real);
  }
  if (const bool* const boolean = value.boolean()) {
    return *boolean ? "true" : "false";
  }
  node.expected("text, a number, true or false");
}

std::string read_precision(const HeaderNode& node) {
  const std::string precision = node.text();
  if (precision != "fp32" && precision != "fp16") {
    node.expected("fp32 or fp16");
  }
  return precision;
}

EngineHeader read_header(const HeaderNode& root) {
  const HeaderNode format = root.at("format");
  if (format.value().integer() == nullptr || *format.value().integer() != kFormat) {
    format.expected(std::to_string(kFormat) + ", the only format that this release knows");
  }
  EngineHeader header;
  header.key = {root.at("backend").text(), root.at("backend_version").text(),
                static_cast<int>(root.at("sm").integer(1, kMaxSm)),
                read_precision(root.at("precision")), root.at("onnx_sha256").sha256()};
  header.stage = root.at("stage").text();
  header.source_sha256 = root.at("source_sha256").sha256();
  for (const HeaderNode& item : root.at("profiles").items(1, kMaxProfiles)) {
    auto& profile = header.profiles.emplace_back();
    for (const auto& [input, range] : item.object()) {
      profile.emplace(input, read_range(item.at(input)));
    }
  }
  const HeaderNode options = root.at("builder_options");
  for (const auto& [name, value] : options.object()) {
    header.builder_options.emplace_back(name, option_text(options.at(name)));
  }
  header.plan_sha256 = root.at("plan_sha256").sha256();
  return header;
}

std::ifstream open_file(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    throw Error(ErrorCode::io, "cannot read " + path.string() + ": " + std::strerror(errno));
  }
  return stream;
}

void read_bytes(std::ifstream& stream, const fs::path& path, std::span<char> bytes) {
  if (!stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    throw Error(ErrorCode::io, "cannot read " + path.string() + ": " + std::strerror(errno));
  }
}

std::uint64_t little_endian(std::span<const char> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    value = value << 8U | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

JsonValue parse_header(const fs::path& path, std::string_view text) {
  try {
    JsonValue value = JsonValue::parse(text);
    if (value.object() == nullptr) {
      fail(path, "its header is no JSON object");
    }
    return value;
  } catch (const JsonError& error) {
    fail(path, std::string("its header is no JSON: ") + error.what());
  }
}

}  // namespace

EngineFile read_engine_file(const fs::path& path) {
  std::error_code error;
  const std::uint64_t file_bytes = fs::file_size(path, error);
  if (error) {
    throw Error(ErrorCode::io, "cannot read " + path.string() + ": " + error.message());
  }
  const auto too_short = [&](const std::string& part) {
    fail(path, "it ends in " + part + ", after " + std::to_string(file_bytes) + " bytes");
  };
  std::ifstream stream = open_file(path);
  std::array<char, kPrefixBytes> prefix{};
  if (file_bytes < kPrefixBytes) {
    too_short("its first " + std::to_string(kPrefixBytes) + " bytes");
  }
  read_bytes(stream, path, prefix);
  if (!std::ranges::equal(std::span(prefix).first(kMagic.size()), kMagic)) {
    fail(path, "it does not start with " + std::string(kMagic));
  }
  const std::uint64_t header_bytes = little_endian(std::span(prefix).subspan(kMagic.size()));
  if (header_bytes == 0 || header_bytes > kMaxHeaderBytes) {
    fail(path, "its header would have " + std::to_string(header_bytes) + " bytes, expected 1 to " +
                   std::to_string(kMaxHeaderBytes));
  }
  const std::uint64_t header_end = kPrefixBytes + header_bytes;
  if (file_bytes < header_end) {
    too_short("the header");
  }
  const std::uint64_t plan_offset =
      (header_end + kPlanAlignment - 1) / kPlanAlignment * kPlanAlignment;
  // The header and the zeros after it.
  std::string text(std::min(plan_offset, file_bytes) - kPrefixBytes, '\0');
  read_bytes(stream, path, text);
  if (std::ranges::any_of(std::string_view(text).substr(header_bytes),
                          [](char c) { return c != '\0'; })) {
    fail(path, "between header and plan are bytes that are not 0");
  }
  text.resize(header_bytes);
  const JsonValue value = parse_header(path, text);
  const HeaderNode root(path, "", value);
  EngineFile engine{path, read_header(root), plan_offset, 0};
  engine.plan_bytes = static_cast<std::uint64_t>(
      root.at("plan_bytes").integer(1, std::numeric_limits<std::int64_t>::max()));
  const std::uint64_t found = file_bytes < plan_offset ? 0 : file_bytes - plan_offset;
  if (engine.plan_bytes != found) {
    fail(path, "its plan has " + std::to_string(found) + " bytes, its header says " +
                   std::to_string(engine.plan_bytes));
  }
  return engine;
}

void verify_plan(const EngineFile& engine) {
  constexpr std::size_t kChunk = std::size_t{1} << 20U;
  std::ifstream stream = open_file(engine.path);
  stream.seekg(static_cast<std::streamoff>(engine.plan_offset));
  Sha256 digest;
  std::vector<char> chunk(kChunk);
  for (std::uint64_t left = engine.plan_bytes; left > 0;) {
    const auto part =
        std::span(chunk).first(static_cast<std::size_t>(std::min<std::uint64_t>(left, kChunk)));
    read_bytes(stream, engine.path, part);
    digest.update(std::as_bytes(part));
    left -= part.size();
  }
  const std::string found = digest.finish();
  if (found != engine.header.plan_sha256) {
    fail(engine.path,
         "the sha256 of its plan is " + found + ", its header says " + engine.header.plan_sha256);
  }
}

}  // namespace instseg
