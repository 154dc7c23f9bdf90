// Devices as the command line names them, and as people see them.

#ifndef REUSESCOPE_CLI_DEVICES_H_
#define REUSESCOPE_CLI_DEVICES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/terminal.h"
#include "hwdb/check_device.h"
#include "hwdb/hardware.h"

namespace reusescope::cli {

// "a100-sxm-80gb" (compiled in), "capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s" (three numbers), or
// "mine.textproto" (a file). kNotFound names the nearest.
absl::StatusOr<Hardware> ResolveHardware(const std::string& text);

// By what the list can be ordered: "name", "memory", "bandwidth", "on-chip", "fp32", "16-bit", "ridge", "power",
// "announced"; the largest first, names from a to z, what is not known last.
std::vector<std::string> DeviceOrders();
void SortDevices(std::vector<Hardware>& devices, const std::string& order);

// One line per device.
std::string RenderDeviceList(const std::vector<Hardware>& devices, const Terminal& terminal);

// Every number of one device with its source.
std::string RenderDevice(const Hardware& device, const Terminal& terminal);

// Their numbers side by side, the best of each row marked.
std::string RenderDeviceComparison(const std::vector<Hardware>& devices, const Terminal& terminal);

// Which rules an entry breaks, what it lacks, and what that means for a report about it.
std::string RenderDeviceCheck(const CheckedDevice& checked, const std::string& file, const Terminal& terminal);

// {"schema": "reusescope.devices/1", "devices": [...]}: every number with its source.
std::string RenderDevicesJson(const std::vector<Hardware>& devices);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_DEVICES_H_
