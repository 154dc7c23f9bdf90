// The predicted step as a timeline for chrome://tracing and ui.perfetto.dev.

#ifndef REUSESCOPE_CLI_VIEWS_TRACE_H_
#define REUSESCOPE_CLI_VIEWS_TRACE_H_

#include <string>

#include "cli/report.h"

namespace reusescope::cli {

// Trace Event Format (JSON): a process for each device, in it a thread of kernels (slices with phase, bound, FLOPs and
// bytes as arguments) and a counter of the memory alive, by kind. Times are the headline's, kernels one after another.
// REQUIRES: the report lists every layer and has a device.
std::string RenderTrace(const Report& report);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VIEWS_TRACE_H_
