// What the functions of c_api.h have in common: their objects, errors, and structs of the caller.
#pragma once

#include <cstddef>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "instseg/c_api.h"
#include "instseg/predictor.hpp"

struct instseg_predictor {
  instseg::Predictor predictor;
};

struct instseg_results {
  std::vector<instseg::Result> images;
  std::vector<std::string> labels;
  std::string family;
};

namespace instseg::capi {

// Of the calling thread.
std::string& last_error();

// Notes the message, and gives the code back.
instseg_code failed(instseg_code code, const char* message) noexcept;

// Throws Error(invalid_argument).
[[noreturn]] void fail(const std::string& message);

// Nothing may be thrown into C.
template <class Body>
instseg_code guarded(Body&& body) noexcept {
  try {
    body();
    return INSTSEG_OK;
  } catch (const Error& error) {
    return failed(static_cast<instseg_code>(1 + static_cast<int>(error.code())), error.what());
  } catch (const std::bad_alloc&) {
    return failed(INSTSEG_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return failed(INSTSEG_INTERNAL, error.what());
  } catch (...) {
    return failed(INSTSEG_INTERNAL, "an exception of an unknown type");
  }
}

template <class T>
T& not_null(T* pointer, const char* name) {
  if (pointer == nullptr) {
    fail(std::string(name) + " is null");
  }
  return *pointer;
}

// Throws where a caller's struct is smaller than `expected`, that of the first version.
void check_size(std::size_t found, std::size_t expected, const char* name);

// `index`, which must be below `count`. what: "image", or "instance" of an `image`.
std::size_t index_in(std::size_t count, const char* what, std::size_t index,
                     std::optional<std::size_t> image = {});

// Checks sizes, and what structs of different sizes need; the rest is for the predictor to check.
std::vector<ImageView> read_images(const instseg_image* images, std::size_t count);

// Null: the predictor's own.
std::optional<float> read_threshold(const float* threshold);

// Into structs of the caller that may be longer than those that this library knows.
void write_instance(const instseg_instance& value, instseg_instance* out);
void write_timings(const Timings& value, instseg_timings* out);

}  // namespace instseg::capi
