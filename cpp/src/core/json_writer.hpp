// JSON text, laid out as Python's json.dumps(…, ensure_ascii=False) does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace instseg {

class JsonWriter {
 public:
  // indent: spaces per level; negative: everything on one line.
  explicit JsonWriter(int indent) : indent_(indent) {}

  void begin_object() { begin('{'); }
  void end_object() { end('}'); }
  void begin_array() { begin('['); }
  void end_array() { end(']'); }
  void key(std::string_view name);  // before each value of an object

  void text(std::string_view value);  // UTF-8; bytes that are none are replaced by U+FFFD
  void integer(std::int64_t value);
  void number(double value);  // shortest text that reads back as the same double
  void boolean(bool value);
  void null();

  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  void begin(char bracket);
  void end(char bracket);
  void separate();  // what stands before a value
  void new_line();

  std::string out_;
  int indent_;
  int depth_ = 0;
  bool first_ = true;  // of its container
  bool after_key_ = false;
};

}  // namespace instseg
