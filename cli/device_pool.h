// The devices a command chooses from: those compiled in and a user's own, selected by pattern.
//
//   RS_ASSIGN_OR_RETURN(std::vector<Hardware> pool, DevicePool("my-devices/"));
//   RS_ASSIGN_OR_RETURN(pool, SelectDevices(std::move(pool), "a100*,h100-sxm,tpu"));

#ifndef REUSESCOPE_CLI_DEVICE_POOL_H_
#define REUSESCOPE_CLI_DEVICE_POOL_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "hwdb/hardware.h"

namespace reusescope::cli {

// Those compiled in and the .textproto files of `folder` ("": none), by name; a user's file replaces an entry of its
// name. kNotFound without the folder; kInvalidArgument names the file that breaks a rule.
absl::StatusOr<std::vector<Hardware>> DevicePool(const std::string& folder);

// The device of that name or alias in the pool, else what ResolveHardware makes of the text.
absl::StatusOr<Hardware> FindInPool(const std::vector<Hardware>& pool, const std::string& text);

// Those that some pattern of the comma-separated list matches, in the pool's order. A pattern is a name or an alias
// with * for any text, a vendor, or a kind (gpu, tpu, npu, cpu); case does not matter. kNotFound when one matches none.
absl::StatusOr<std::vector<Hardware>> SelectDevices(std::vector<Hardware> pool, absl::string_view patterns);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_DEVICE_POOL_H_
