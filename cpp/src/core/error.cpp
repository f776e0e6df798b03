#include "instseg/error.hpp"

namespace instseg {

Error::Error(ErrorCode code, const std::string& message)
    : std::runtime_error(message), code_(code) {}

Error::~Error() = default;  // here, so that the type information lives in this library alone

}  // namespace instseg
