#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "cli/commands.h"
#include "cli/device_pool.h"
#include "cli/devices.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/text.h"
#include "hwdb/quantity.h"

namespace reusescope::cli {
namespace {

struct DevicesOptions {
  std::vector<std::string> names;
  std::string pattern, folder, check, order = "name";
  int64_t least_memory_bytes = 0;
  bool json = false;
  ColorMode color = ColorMode::kAuto;
};

absl::StatusOr<std::vector<Hardware>> ListedDevices(const DevicesOptions& options) {
  RS_ASSIGN_OR_RETURN(std::vector<Hardware> devices, DevicePool(options.folder));
  if (!options.pattern.empty()) {
    RS_ASSIGN_OR_RETURN(devices, SelectDevices(std::move(devices), options.pattern));
  }
  const auto too_small = [&](const Hardware& device) {
    return AvailableMemoryBytes(device).value_or(0) < options.least_memory_bytes;
  };
  devices.erase(std::remove_if(devices.begin(), devices.end(), too_small), devices.end());
  SortDevices(devices, options.order);
  return devices;
}

absl::Status RunDevices(const DevicesOptions& options) {
  const Terminal terminal = DescribeTerminal(STDOUT_FILENO, options.color);
  if (!options.check.empty()) {
    RS_ASSIGN_OR_RETURN(const CheckedDevice device, CheckDeviceFile(options.check));
    RS_RETURN_IF_ERROR(WriteOutput("", RenderDeviceCheck(device, options.check, terminal)));
    if (device.problems.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(Printable(options.check), ": is not a device that can be used"));
  }
  if (options.names.empty()) {
    RS_ASSIGN_OR_RETURN(const std::vector<Hardware> devices, ListedDevices(options));
    return WriteOutput("", options.json ? RenderDevicesJson(devices) : RenderDeviceList(devices, terminal));
  }
  RS_ASSIGN_OR_RETURN(const std::vector<Hardware> pool, DevicePool(options.folder));
  std::vector<Hardware> devices;
  for (const std::string& name : options.names) {
    RS_ASSIGN_OR_RETURN(Hardware device, FindInPool(pool, name));
    devices.push_back(std::move(device));
  }
  if (options.json) return WriteOutput("", RenderDevicesJson(devices));
  return WriteOutput(
      "", devices.size() == 1 ? RenderDevice(devices[0], terminal) : RenderDeviceComparison(devices, terminal));
}

}  // namespace

void AddDevicesCommand(CLI::App& app, Action& action) {
  auto options = std::make_shared<DevicesOptions>();
  CLI::App* command = app.add_subcommand(
      "devices", "List the devices it knows, compare some, or show one with the source of every number");
  command->footer(
      "  reusescope devices                                   all of them\n"
      "  reusescope devices --match 'nvidia,tpu-*' --sort bandwidth --min-memory 40GB\n"
      "  reusescope devices h100                              one, with sources\n"
      "  reusescope devices h100 mi300x b200                  side by side\n"
      "  reusescope devices --check mine.textproto            what an entry of your own lacks\n"
      "  reusescope devices 'capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s'\n");
  command->add_option("NAME", options->names, "A device, an alias, three numbers or a .textproto file; several compare")
      ->option_text("DEVICE");
  command
      ->add_option("--match", options->pattern,
                   "Only those that match: names with *, vendors, kinds (gpu, tpu, npu, cpu), separated by commas")
      ->option_text("PATTERN");
  AddChoice<std::string>(
      *command, "--sort", options->order,
      [] {
        std::vector<std::pair<std::string, std::string>> orders;
        for (const std::string& name : DeviceOrders()) orders.emplace_back(name, name);
        return orders;
      }(),
      "Order of the list, the largest first", "name");
  command
      ->add_option_function<std::string>(
          "--min-memory", [options](const std::string& text) { options->least_memory_bytes = *ParseBytes(text); },
          "Only those with at least so much memory")
      ->check(ChecksWith(ParseBytes))
      ->option_text("BYTES");
  AddHwdbOption(*command, options->folder)->group("Options");
  command->add_option("--check", options->check, "Check an entry of your own and say what it lacks")
      ->option_text("FILE");
  AddChoice<bool>(*command, "--format", options->json, {{"table", false}, {"json", true}}, "Form of the output",
                  "table");
  AddCommonOptions(*command, options->color);
  command->callback([options, &action] { action = [options] { return RunDevices(*options); }; });
}

}  // namespace reusescope::cli
