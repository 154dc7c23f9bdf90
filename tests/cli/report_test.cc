// The report's own arithmetic: grouping, ordering, the curve, the verdict.

#include "cli/report.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/views/sections.h"
#include "cli/views/views.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/onnx_text.h"

namespace reusescope::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// A stem, three equal residual blocks, a classifier.
constexpr absl::string_view kThreeBlocks = R"(
  three (float[N,16,8,8] x) => (float[N,10] y)
  <float[16,16,3,3] w0, float[16,16,3,3] w1, float[16,16,3,3] w2, float[16,16,3,3] w3, float[16,10] w4>
  {
    a0 = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, w0)
    b1 = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (a0, w1)
    a1 = Add (a0, b1)
    b2 = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (a1, w2)
    a2 = Add (a1, b2)
    b3 = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (a2, w3)
    a3 = Add (a2, b3)
    p = GlobalAveragePool (a3)
    f = Flatten (p)
    y = MatMul (f, w4)
  })";

Hardware Device(const std::string& numbers) { return *ParseThreeNumbers(numbers); }

Report ReportOf(absl::string_view text, const AnalysisOptions& options, const std::vector<Hardware>& devices,
                const ReportOptions& report_options = {}) {
  absl::StatusOr<Analysis> analysis = Analyze(ParseOnnxText(text), options);
  EXPECT_TRUE(analysis.ok()) << analysis.status();
  if (!analysis.ok()) return {};
  absl::StatusOr<Report> report = MakeReport(*analysis, devices, report_options);
  EXPECT_TRUE(report.ok()) << report.status();
  return report.ok() ? *std::move(report) : Report();
}

const std::string kSlowMemory = "capacity=1MiB,bandwidth=1GB/s,throughput=100TFLOP/s,memory=1GB,name=slow-memory";
const std::string kSlowCompute = "capacity=1MiB,bandwidth=10TB/s,throughput=1GFLOP/s,memory=100KiB,name=slow-compute";

TEST(ReportTest, EqualBlocksAreFoldedIntoOneRow) {
  const Report report = ReportOf(kThreeBlocks, {.shapes = {.batch = 4}}, {Device(kSlowMemory)});
  std::vector<const GroupRow*> blocks;
  for (const GroupRow& group : report.groups) {
    if (group.kind == "residual") blocks.push_back(&group);
  }
  ASSERT_THAT(blocks, SizeIs(1));
  EXPECT_EQ(blocks[0]->count, 3);
  // Forward, dX and dW of three equal convolutions; nothing of it lies outside.
  EXPECT_EQ(blocks[0]->work.macs, 3 * 3 * (4 * 16 * 8 * 8 * 16 * 3 * 3));
}

// N micro-batches are N times forward and backward, which adds to what is accumulated, and one update.
TEST(ReportTest, AccumulationMultipliesEverythingButTheUpdate) {
  constexpr int64_t kMicroBatches = 4, kParameters = 4 * 16 * 16 * 3 * 3 + 16 * 10;
  AnalysisOptions options{.shapes = {.batch = 2}};
  const Report one = ReportOf(kThreeBlocks, options, {Device(kSlowMemory)});
  EXPECT_FALSE(one.optimizer_step.has_value());
  options.gradients.accumulate = kMicroBatches;
  const Report last = ReportOf(kThreeBlocks, options, {Device(kSlowMemory)});
  ASSERT_TRUE(last.optimizer_step.has_value());
  const Work& update = one.phases[static_cast<int>(Phase::kUpdate)];
  // One addition for each parameter; both operands read, the sum written.
  EXPECT_EQ(last.step.flops, one.step.flops + kParameters);
  EXPECT_EQ(last.step.bytes, one.step.bytes + 3 * 4 * kParameters);
  EXPECT_EQ(last.optimizer_step->flops, kMicroBatches * (one.step.flops - update.flops + kParameters) + update.flops);
  EXPECT_EQ(last.optimizer_step->bytes,
            kMicroBatches * (one.step.bytes - update.bytes + 3 * 4 * kParameters) + update.bytes);
  EXPECT_NEAR(last.optimizer_step->seconds[0],
              kMicroBatches * (last.step.seconds[0] - update.seconds[0]) + update.seconds[0], 1e-12);
  EXPECT_THAT(Verdict(last)[0], HasSubstr("All 4 micro-batches with one update take"));
  const nlohmann::json json = nlohmann::json::parse(RenderJson(last));
  EXPECT_EQ(json["totals"]["optimizer_step"]["flops"], last.optimizer_step->flops);
}

// What every module path begins with is a wrapper of the export; the parts are one level below it.
TEST(ReportTest, PartsAreNamedBelowWhatAllModulesShare) {
  Model model = ParseOnnxText(R"(g (float[4,16] x) => (float[4,10] y) <float[16,16] w0, float[16,10] w1> {
    a = MatMul (x, w0)
    b = Relu (a)
    y = MatMul (b, w1)
  })");
  const char* const modules[] = {"m.body.first", "m.body", "m.head"};
  for (int i = 0; i < 3; ++i) model.graph.node(i).module = modules[i];
  const absl::StatusOr<Analysis> analysis = Analyze(std::move(model), {.optimizer = Optimizer::kSgd});
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  const absl::StatusOr<Report> report = MakeReport(*analysis, {}, {});
  ASSERT_TRUE(report.ok()) << report.status();
  std::vector<std::string> parts;
  for (const GroupRow& group : report->groups) parts.push_back(group.name);
  EXPECT_THAT(parts, ElementsAre("m.body", "m.head", "loss", "sgd"));
}

TEST(ReportTest, GroupsAndPhasesEachHoldTheWholeStep) {
  const Report report = ReportOf(kThreeBlocks, {.shapes = {.batch = 4}}, {Device(kSlowMemory), Device(kSlowCompute)});
  Work groups, phases;
  for (const GroupRow& group : report.groups) groups.Add(group.work);
  for (const Work& phase : report.phases) phases.Add(phase);
  for (const Work& sum : {groups, phases}) {
    EXPECT_EQ(sum.kernels, static_cast<int64_t>(report.layers.size()));
    EXPECT_EQ(sum.flops, report.step.flops);
    EXPECT_EQ(sum.bytes, report.step.bytes);
    ASSERT_THAT(sum.seconds, SizeIs(2));
    for (int d : {0, 1}) {
      const StepTime& step = report.devices[d].roofline.Headline();
      EXPECT_NEAR(sum.seconds[d], step.step_seconds, 1e-9 * step.step_seconds);
      EXPECT_NEAR(sum.memory_bound_seconds[d], step.memory_bound_seconds, 1e-9 * step.step_seconds);
    }
  }
}

TEST(ReportTest, InferenceHasNoBackwardAndNoLoss) {
  const Report report = ReportOf(kThreeBlocks, {.shapes = {.batch = 4}, .mode = Mode::kInference}, {});
  EXPECT_EQ(report.phases[static_cast<int>(Phase::kBackward)].kernels, 0);
  EXPECT_EQ(report.phases[static_cast<int>(Phase::kUpdate)].kernels, 0);
  EXPECT_THAT(report.settings.loss, IsEmpty());
  EXPECT_THAT(report.settings.optimizer, IsEmpty());
  const std::string table = RenderTable(report, {}, Terminal());
  EXPECT_THAT(table, AllOf(HasSubstr("inference"), Not(HasSubstr("backward ")), Not(HasSubstr("stash"))));
}

TEST(ReportTest, TopLayersAreTheSlowestFirst) {
  const Report report = ReportOf(kThreeBlocks, {.shapes = {.batch = 4}}, {Device(kSlowCompute)});
  const std::vector<int> top = TopLayers(report, 5);
  ASSERT_THAT(top, SizeIs(5));
  for (size_t i = 1; i < top.size(); ++i) {
    EXPECT_GE(report.layers[top[i - 1]].times[0].seconds, report.layers[top[i]].times[0].seconds);
  }
  EXPECT_THAT(TopLayers(report, 1'000'000), SizeIs(report.layers.size()));
  EXPECT_THAT(TopLayers(report, 0), IsEmpty());
}

TEST(ReportTest, ReuseFactorsAreThoseOfTheKernel) {
  const Report report = ReportOf(kThreeBlocks, {.shapes = {.batch = 4}}, {});
  const auto conv = std::find_if(report.layers.begin(), report.layers.end(),
                                 [](const LayerRow& layer) { return layer.op.rfind("Conv", 0) == 0; });
  ASSERT_NE(conv, report.layers.end());
  EXPECT_DOUBLE_EQ(conv->reuse_factors.weight, 4 * 8 * 8);        // batch and output positions
  EXPECT_DOUBLE_EQ(conv->reuse_factors.partial_sum, 16 * 3 * 3);  // channels and window
}

TEST(ReportTest, TheCurveHasDevicesAndWhatWasAskedFor) {
  const Report report =
      ReportOf(kThreeBlocks, {.shapes = {.batch = 4}}, {Device(kSlowMemory)}, {.extra_capacities = {12345}});
  int asked = 0, of_device = 0;
  for (const CurveRow& row : report.curve) {
    asked += row.asked && row.capacity_bytes == 12345;
    of_device += row.capacity_bytes == 1 << 20 && row.devices == std::vector<std::string>{"slow-memory"};
  }
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(of_device, 1);
  EXPECT_EQ(report.curve.front().capacity_bytes, 0);
  EXPECT_EQ(report.curve.back().lru_bytes, report.minimum_traffic_bytes);
}

TEST(VerdictTest, SaysWhatWouldHelpMost) {
  const Report memory = ReportOf(kThreeBlocks, {.shapes = {.batch = 4}}, {Device(kSlowMemory)});
  EXPECT_THAT(Verdict(memory)[0],
              AllOf(HasSubstr("a step of 4 samples"), HasSubstr("100.0 % of it in kernels that wait"),
                    HasSubstr("fits in"), HasSubstr("twice the bandwidth (50.0 %")));
  const Report compute = ReportOf(kThreeBlocks, {.shapes = {.batch = 4}}, {Device(kSlowCompute)});
  EXPECT_THAT(Verdict(compute)[0], AllOf(HasSubstr("bound by compute"), HasSubstr("it does not fit"),
                                         HasSubstr("What would help most is twice the compute (50.0 % less time)")));
}

TEST(VerdictTest, WithoutADeviceSaysHowToGetOne) {
  const Report report = ReportOf(kThreeBlocks, {.shapes = {.batch = 4}}, {});
  ASSERT_THAT(Verdict(report), SizeIs(1));
  EXPECT_THAT(Verdict(report)[0], AllOf(HasSubstr("--hardware"), HasSubstr("FLOP per byte")));
}

// An operator that nobody knows: said in the first lines, never a silent zero.
TEST(ReportTest, UnknownOperatorsAreLoud) {
  constexpr absl::string_view kUnknown = R"(
    <ir_version: 8, opset_import: ["" : 17, "com.example" : 1]>
    odd (float[N,16] x) => (float[N,16] y)
    <float[16,16] w, float[N,16] z>
    { z = com.example.Foo (x, w)  y = Relu (z) })";
  absl::StatusOr<Analysis> analysis =
      Analyze(ParseOnnxText(kUnknown), {.shapes = {.batch = 4}, .mode = Mode::kInference});
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  const Report report = *MakeReport(*analysis, {}, {});
  ASSERT_THAT(report.coverage.unknown_operators, SizeIs(1));
  const std::string table = RenderTable(report, {}, Terminal());
  const size_t where = table.find("com.example::Foo");
  ASSERT_NE(where, std::string::npos);
  EXPECT_LT(where, table.find("The step"));
  EXPECT_THAT(RenderCsv(report), HasSubstr(",,,,"));
  const auto layers = nlohmann::json::parse(RenderJson(report))["layers"];
  EXPECT_FALSE(layers[0]["known"]);
  EXPECT_TRUE(layers[0]["flops"].is_null());
  EXPECT_EQ(layers[1]["flops"], 4 * 16);
}

// Names out of a file reach neither the terminal nor a cell's border.
TEST(ReportTest, HostileNamesAreDisarmed) {
  Report report = ReportOf(kThreeBlocks, {.shapes = {.batch = 4}}, {Device(kSlowMemory)});
  for (LayerRow& layer : report.layers) layer.label = layer.module = "\x1b[2Ja|b,\"c\"\n=d\xff";
  report.notes.push_back("\x1b[31m");
  EXPECT_THAT(RenderTable(report, {}, Terminal()), Not(HasSubstr("\x1b")));
  EXPECT_THAT(RenderMarkdown(report, {}), AllOf(Not(HasSubstr("\x1b")), HasSubstr("a\\|b")));
  EXPECT_THAT(RenderCsv(report), HasSubstr("\"\x1b[2Ja|b,\"\"c\"\"\n=d\xff\""));
  EXPECT_THAT(RenderJson(report), Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace reusescope::cli
