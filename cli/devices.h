// Devices as the command line names them, and as people see them.

#ifndef REUSESCOPE_CLI_DEVICES_H_
#define REUSESCOPE_CLI_DEVICES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/terminal.h"
#include "hwdb/hardware.h"

namespace reusescope::cli {

// "a100-sxm-80gb" (compiled in), "capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s" (three numbers), or
// "mine.textproto" (a file). kNotFound names the nearest.
absl::StatusOr<Hardware> ResolveHardware(const std::string& text);

// One line per device.
std::string RenderDeviceList(const std::vector<Hardware>& devices, const Terminal& terminal);

// Every number of one device with its source.
std::string RenderDevice(const Hardware& device, const Terminal& terminal);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_DEVICES_H_
