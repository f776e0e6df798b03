// Strict JSON (RFC 8259), read into values. For headers of files that may be damaged or foreign:
// every error is an exception with the place, and depth is limited.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace instseg {

// what(): what was expected, and the byte where it was not found.
class JsonError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class JsonValue {
 public:
  using Array = std::vector<JsonValue>;
  using Object = std::vector<std::pair<std::string, JsonValue>>;  // in the order of the text

  // Throws JsonError for what is no JSON text: also for bytes after the value, text that is not
  // UTF-8, a key that is there twice in an object, and more than kMaxDepth brackets inside each
  // other.
  static JsonValue parse(std::string_view text);
  static constexpr int kMaxDepth = 32;

  // The value where it has this type, else null. An integer is a number without a fraction or an
  // exponent that fits 64 bits.
  [[nodiscard]] const bool* boolean() const { return std::get_if<bool>(&value_); }
  [[nodiscard]] const std::int64_t* integer() const { return std::get_if<std::int64_t>(&value_); }
  [[nodiscard]] const double* real() const { return std::get_if<double>(&value_); }
  [[nodiscard]] const std::string* text() const { return std::get_if<std::string>(&value_); }
  [[nodiscard]] const Array* array() const { return std::get_if<Array>(&value_); }
  [[nodiscard]] const Object* object() const { return std::get_if<Object>(&value_); }

  // The value of a key; null where this is no object or has no such key.
  [[nodiscard]] const JsonValue* find(std::string_view key) const;

 private:
  friend class JsonParser;
  std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Array, Object> value_;
};

}  // namespace instseg
