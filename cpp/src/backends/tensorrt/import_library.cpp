// The functions of TensorRT that the plug-in calls by name; all others are reached through objects.
// Stands in for the library when the plug-in is linked on a machine without it, and is never
// installed or loaded.
#include <cstdint>

#define INSTSEG_IMPORTED extern "C" __attribute__((visibility("default")))

INSTSEG_IMPORTED void* createInferRuntime_INTERNAL(void* logger, std::int32_t version);
INSTSEG_IMPORTED std::int32_t getInferLibMajorVersion();
INSTSEG_IMPORTED std::int32_t getInferLibMinorVersion();
INSTSEG_IMPORTED std::int32_t getInferLibPatchVersion();
INSTSEG_IMPORTED std::int32_t getInferLibBuildVersion();

void* createInferRuntime_INTERNAL(void*, std::int32_t) { return nullptr; }
std::int32_t getInferLibMajorVersion() { return 0; }
std::int32_t getInferLibMinorVersion() { return 0; }
std::int32_t getInferLibPatchVersion() { return 0; }
std::int32_t getInferLibBuildVersion() { return 0; }
