extern "C" __attribute__((visibility("default"))) int instseg_test_dependency() { return 1; }
