// Marks what the shared library shows to its users; everything else is built with hidden
// visibility.
#pragma once

#if defined(_WIN32)
#if defined(INSTSEG_BUILDING_LIBRARY)
#define INSTSEG_API __declspec(dllexport)
#else
#define INSTSEG_API __declspec(dllimport)
#endif
#else
#define INSTSEG_API __attribute__((visibility("default")))
#endif
