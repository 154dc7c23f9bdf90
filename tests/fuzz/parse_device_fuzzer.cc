#include <cstddef>
#include <cstdint>

#include "tests/fuzz/fuzz_rules.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  reusescope::FuzzParseDevice(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
