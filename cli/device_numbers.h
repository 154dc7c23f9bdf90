// Numbers of a device as the lists of devices show them.

#ifndef REUSESCOPE_CLI_DEVICE_NUMBERS_H_
#define REUSESCOPE_CLI_DEVICE_NUMBERS_H_

#include <optional>
#include <string>

#include "hwdb/hardware.h"

namespace reusescope::cli {

// The dense peak with 32-bit accumulation where there is one: what training uses. FLOP/s.
std::optional<double> PeakOf(const Hardware& device, Arithmetic arithmetic);
// bf16's, else fp16's.
std::optional<double> PeakOf16(const Hardware& device);
// FLOP per byte at the 16-bit peak; of a device without, at fp32's.
std::optional<double> RidgeOf(const Hardware& device);

// "312 TFLOP/s", "80 GB", "40.0 MiB": vendors print memory in GB and on-chip memory in MiB; so do we.
std::string NumberCell(const SourcedNumber& number);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_DEVICE_NUMBERS_H_
