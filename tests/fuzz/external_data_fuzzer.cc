#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "tests/fuzz/fuzz_rules.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string folder = reusescope::MakeExternalFolder(
      (std::filesystem::temp_directory_path() / ("reusescope_fuzz_" + std::to_string(getpid()))).string());
  reusescope::FuzzExternalData(absl::string_view(reinterpret_cast<const char*>(data), size), folder);
  return 0;
}
