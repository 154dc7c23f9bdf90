#include <unistd.h>

#include <memory>

#include "analysis/ir/status_util.h"
#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/options.h"
#include "cli/output.h"

namespace reusescope::cli {
namespace {

struct DevicesOptions {
  std::string name;
  ColorMode color = ColorMode::kAuto;
};

absl::Status RunDevices(const DevicesOptions& options) {
  const Terminal terminal = DescribeTerminal(STDOUT_FILENO, options.color);
  if (options.name.empty()) {
    RS_ASSIGN_OR_RETURN(const std::vector<Hardware> devices, AllDevices());
    return WriteOutput("", RenderDeviceList(devices, terminal));
  }
  RS_ASSIGN_OR_RETURN(const Hardware device, ResolveHardware(options.name));
  return WriteOutput("", RenderDevice(device, terminal));
}

}  // namespace

void AddDevicesCommand(CLI::App& app, Action& action) {
  auto options = std::make_shared<DevicesOptions>();
  CLI::App* command =
      app.add_subcommand("devices", "List the devices it knows, or one of them with the source of every number");
  command->footer(
      "  reusescope devices              all of them\n"
      "  reusescope devices h100         one, with sources\n"
      "  reusescope devices 'capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s'\n");
  command->add_option("NAME", options->name, "A device, an alias, three numbers or a .textproto file")
      ->option_text("DEVICE");
  AddCommonOptions(*command, options->color);
  command->callback([options, &action] { action = [options] { return RunDevices(*options); }; });
}

}  // namespace reusescope::cli
