#include "bundle/json_value.hpp"

#include <algorithm>
#include <charconv>

namespace instseg {
namespace {

constexpr std::uint32_t kLeadSurrogates = 0xd800;
constexpr std::uint32_t kTrailSurrogates = 0xdc00;
constexpr std::uint32_t kAfterSurrogates = 0xe000;

void append_utf8(std::uint32_t code, std::string& text) {
  const auto byte = [&](std::uint32_t value) { text.push_back(static_cast<char>(value)); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xc0U | code >> 6U);
    byte(0x80U | (code & 0x3fU));
  } else if (code < 0x10000) {
    byte(0xe0U | code >> 12U);
    byte(0x80U | (code >> 6U & 0x3fU));
    byte(0x80U | (code & 0x3fU));
  } else {
    byte(0xf0U | code >> 18U);
    byte(0x80U | (code >> 12U & 0x3fU));
    byte(0x80U | (code >> 6U & 0x3fU));
    byte(0x80U | (code & 0x3fU));
  }
}

// Bytes of the character of UTF-8 that `text` starts with; 0 where it is none.
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  const std::size_t length = lead < 0x80   ? 1
                             : lead < 0xc2 ? 0  // continues a character, or is an overlong form
                             : lead < 0xe0 ? 2
                             : lead < 0xf0 ? 3
                             : lead < 0xf5 ? 4
                                           : 0;
  if (length > text.size()) {
    return 0;
  }
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0U) != 0x80U) {
      return 0;
    }
  }
  const bool overlong = (lead == 0xe0 && at(1) < 0xa0) || (lead == 0xf0 && at(1) < 0x90);
  const bool surrogate = lead == 0xed && at(1) >= 0xa0;
  const bool too_large = lead == 0xf4 && at(1) >= 0x90;
  return overlong || surrogate || too_large ? 0 : length;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  JsonValue parse() {
    JsonValue value = read_value(0);
    skip_space();
    if (at_ != text_.size()) {
      fail("the end of the text");
    }
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    throw JsonError("expected " + expected + " at byte " + std::to_string(at_));
  }

  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) {
      ++at_;
    }
  }

  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) {
      return false;
    }
    at_ += token.size();
    return true;
  }

  JsonValue read_value(int depth) {
    if (depth > JsonValue::kMaxDepth) {
      fail("at most " + std::to_string(JsonValue::kMaxDepth) + " levels");
    }
    skip_space();
    JsonValue value;
    if (take("{")) {
      value.value_ = read_object(depth);
    } else if (take("[")) {
      value.value_ = read_array(depth);
    } else if (take("\"")) {
      value.value_ = read_text();
    } else if (take("true")) {
      value.value_ = true;
    } else if (take("false")) {
      value.value_ = false;
    } else if (peek() == '-' || is_digit(peek())) {
      read_number(value);
    } else if (!take("null")) {
      fail("a value");
    }
    return value;
  }

  JsonValue::Object read_object(int depth) {
    JsonValue::Object object;
    skip_space();
    if (take("}")) {
      return object;
    }
    do {
      skip_space();
      if (!take("\"")) {
        fail("a key");
      }
      std::string key = read_text();
      if (std::ranges::any_of(object, [&](const auto& entry) { return entry.first == key; })) {
        fail("each key once ('" + key + "' is there twice)");
      }
      skip_space();
      if (!take(":")) {
        fail("':'");
      }
      object.emplace_back(std::move(key), read_value(depth + 1));
      skip_space();
    } while (take(","));
    if (!take("}")) {
      fail("',' or '}'");
    }
    return object;
  }

  JsonValue::Array read_array(int depth) {
    JsonValue::Array array;
    skip_space();
    if (take("]")) {
      return array;
    }
    do {
      array.push_back(read_value(depth + 1));
      skip_space();
    } while (take(","));
    if (!take("]")) {
      fail("',' or ']'");
    }
    return array;
  }

  // After the opening quote.
  std::string read_text() {
    std::string text;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return text;
      }
      if (c == '\\') {
        ++at_;
        read_escape(text);
        continue;
      }
      const std::size_t length = utf8_length(text_.substr(at_));
      if (length == 0 || static_cast<unsigned char>(c) < 0x20) {
        fail("a character of UTF-8");
      }
      text += text_.substr(at_, length);
      at_ += length;
    }
    fail("'\"'");
  }

  void read_escape(std::string& text) {
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
    if (take("u")) {
      append_utf8(read_code(), text);
      return;
    }
    const std::size_t index = at_ < text_.size() ? kNames.find(peek()) : kNames.npos;
    if (index == kNames.npos) {
      fail("an escape that JSON knows");
    }
    text.push_back(kValues[index]);
    ++at_;
  }

  // After "\u"; reads the second half of a pair, too.
  std::uint32_t read_code() {
    const std::uint32_t code = read_hexadecimal();
    if (code < kLeadSurrogates || code >= kAfterSurrogates) {
      return code;
    }
    const std::uint32_t trail = code < kTrailSurrogates && take("\\u") ? read_hexadecimal() : 0;
    if (trail < kTrailSurrogates || trail >= kAfterSurrogates) {
      fail("both halves of a character");
    }
    return 0x10000U + ((code - kLeadSurrogates) << 10U) + (trail - kTrailSurrogates);
  }

  std::uint32_t read_hexadecimal() {
    constexpr std::size_t kDigits = 4;
    const std::string_view digits = text_.substr(at_, kDigits);
    std::uint32_t code = 0;
    const char* const end = digits.data() + digits.size();
    if (digits.size() != kDigits || std::from_chars(digits.data(), end, code, 16).ptr != end) {
      fail("4 hexadecimal digits");
    }
    at_ += kDigits;
    return code;
  }

  void skip_digits() {
    if (!is_digit(peek())) {
      fail("a digit");
    }
    while (is_digit(peek())) {
      ++at_;
    }
  }

  void read_number(JsonValue& value) {
    const std::size_t begin = at_;
    (void)take("-");
    if (!take("0")) {
      skip_digits();
    }
    const std::size_t whole_end = at_;
    if (take(".")) {
      skip_digits();
    }
    if (take("e") || take("E")) {
      (void)(take("+") || take("-"));
      skip_digits();
    }
    const char* const first = text_.data() + begin;
    const char* const last = text_.data() + at_;
    std::int64_t integer = 0;
    if (at_ == whole_end && std::from_chars(first, last, integer).ec == std::errc()) {
      value.value_ = integer;
      return;
    }
    double real = 0.0;
    if (std::from_chars(first, last, real).ec != std::errc()) {
      fail("a number that a double holds before here");
    }
    value.value_ = real;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

JsonValue JsonValue::parse(std::string_view text) { return JsonParser(text).parse(); }

const JsonValue* JsonValue::find(std::string_view key) const {
  const Object* const entries = object();
  if (entries == nullptr) {
    return nullptr;
  }
  const auto found =
      std::ranges::find_if(*entries, [&](const auto& entry) { return entry.first == key; });
  return found == entries->end() ? nullptr : &found->second;
}

}  // namespace instseg
