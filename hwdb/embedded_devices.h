// The texts of devices/*.textproto as they were when the program was built. Internal to hwdb.

#ifndef REUSESCOPE_HWDB_EMBEDDED_DEVICES_H_
#define REUSESCOPE_HWDB_EMBEDDED_DEVICES_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace reusescope {

struct EmbeddedDevice {
  absl::string_view name;  // the file's name without ".textproto"
  absl::string_view text;
};

// In the order of the file names.
absl::Span<const EmbeddedDevice> EmbeddedDevices();

}  // namespace reusescope

#endif  // REUSESCOPE_HWDB_EMBEDDED_DEVICES_H_
