// The timeline of analyze --format trace ends when the step does and peaks where the memory does.

#include <algorithm>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/cli/run_program.h"

namespace reusescope::cli {
namespace {

using Json = nlohmann::json;

TEST(TraceTest, EndsWithTheStepAndPeaksWithTheMemory) {
  const std::string command = "analyze models/resnet18.onnx --batch 4 --hardware a100 --format ";
  const Json report = Json::parse(RunShell(command + "json").out);
  const Json trace = Json::parse(RunShell(command + "trace").out);
  double end = 0;
  int64_t peak = 0;
  size_t slices = 0;
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] == "X") {
      ++slices;
      EXPECT_NEAR(event["ts"].get<double>(), end, 1e-6);
      end = event["ts"].get<double>() + event["dur"].get<double>();
    }
    if (event["ph"] != "C") continue;
    int64_t bytes = 0;
    for (const auto& [kind, count] : event["args"].items()) bytes += count.get<int64_t>();
    peak = std::max(peak, bytes);
  }
  EXPECT_EQ(slices, report["layers"].size());
  EXPECT_NEAR(end, 1e6 * report["roofline"]["step_seconds"].get<double>(), 1e-3);
  EXPECT_EQ(peak, report["memory"]["peak_bytes"]);
}

TEST(TraceTest, NeedsADevice) {
  const ProgramRun run = RunShell("analyze models/lenet5.onnx --format trace");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, testing::HasSubstr("--hardware"));
}

}  // namespace
}  // namespace reusescope::cli
