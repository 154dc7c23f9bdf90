// All that is wrong with a device entry, where Validate and LoadDeviceFile only say that it cannot be used.
//
//   RS_ASSIGN_OR_RETURN(const CheckedDevice device, CheckDeviceFile("mine.textproto"));
//   for (const std::string& problem : device.problems) ...        "found no vendor, expected one"

#ifndef REUSESCOPE_HWDB_CHECK_DEVICE_H_
#define REUSESCOPE_HWDB_CHECK_DEVICE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hwdb/hardware.h"

namespace reusescope {

// Every rule of Validate that the device breaks, with found and expected; empty where Validate is content.
std::vector<std::string> BrokenRules(const Hardware& hardware);

// What can be read of an entry, and what is wrong with its form and by the rules.
struct CheckedDevice {
  Hardware hardware;
  std::vector<std::string> problems;
};

// An error only where the file cannot be read or is no text of the form at all (kNotFound, kInvalidArgument).
absl::StatusOr<CheckedDevice> CheckDeviceFile(const std::string& path);

}  // namespace reusescope

#endif  // REUSESCOPE_HWDB_CHECK_DEVICE_H_
