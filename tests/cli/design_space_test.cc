#include "cli/design_space.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/units.h"
#include "cli/views/design_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "nlohmann/json.hpp"
#include "tests/cli/json_schema.h"
#include "tests/cli/run_program.h"

namespace reusescope::cli {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kModel[] = REUSESCOPE_SOURCE_DIR "/models/resnet18.onnx";

DesignSweepOptions SmallGrid() {
  DesignSweepOptions options;
  options.base = FindDevice("a100-sxm-80gb").value();
  options.axes.capacities_bytes = ParseCapacities("1MiB:256MiB:x4").value();
  options.axes.bandwidths_bytes_per_second = ParseBandwidths("250GB/s:4TB/s:x2").value();
  options.axes.throughputs_flops_per_second = ParseThroughputs("10T:160T:x4").value();
  options.policies = {Policy::kNone, Policy::kLru, Policy::kManaged};
  options.batches = {8};
  return options;
}

const DesignSpace& Space() {
  static const DesignSpace* const space = [] {
    DesignSweepOptions options = SmallGrid();
    options.weights = ParseCostWeights("capacity=0.4/MiB,bandwidth=12/100GB/s,throughput=1/TFLOP/s").value();
    return new DesignSpace(SweepDesigns(kModel, options).value());
  }();
  return *space;
}

TEST(DesignAxesTest, AreGeometricArithmeticOrLists) {
  EXPECT_THAT(ParseCapacities("1MiB:8MiB:x2").value(), ElementsAre(1 << 20, 2 << 20, 4 << 20, 8 << 20));
  EXPECT_THAT(ParseCapacities("0:3KiB:+1KiB").value(), ElementsAre(0, 1024, 2048, 3072));
  EXPECT_THAT(ParseBatches("128,8,8").value(), ElementsAre(8, 128));
  EXPECT_THAT(ParseThroughputs("10T:25T:x2").value(), ElementsAre(1e13, 2e13));
  EXPECT_THAT(ParseBandwidths("100GB/s:400GB/s:x2").value(), ElementsAre(1e11, 2e11, 4e11));
}

TEST(DesignAxesTest, ErrorsSayWhatWasExpected) {
  for (const char* text : {"", "1MiB:x2", "1MiB:2MiB:2", "2MiB:1MiB:x2", "1MiB:2MiB:x1", "0:1MiB:x2", "1MiB:2MiB:+0B",
                           "1:9:+1:1", "-1MiB", "0:1GiB:+1B"}) {
    const auto parsed = ParseCapacities(text);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("found")) << text;
  }
}

TEST(CostWeightsTest, ArePricesForAmounts) {
  const CostWeights weights = ParseCostWeights("capacity=0.5/MiB,bandwidth=12/100GB/s,throughput=3/TFLOP/s").value();
  EXPECT_DOUBLE_EQ(weights.per_capacity_byte, 0.5 / (1 << 20));
  EXPECT_DOUBLE_EQ(weights.per_bandwidth_byte_per_second, 12 / 1e11);
  EXPECT_DOUBLE_EQ(weights.per_flop_per_second, 3 / 1e12);
  for (const char* text : {"", "capacity", "capacity=0.4", "capacity=x/MiB", "capacity=-1/MiB", "area=3/MiB"}) {
    EXPECT_EQ(ParseCostWeights(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(DesignSpaceTest, HasEveryPointOfTheGrid) {
  EXPECT_THAT(Space().points, SizeIs(3 * 5 * 5 * 3));
  EXPECT_TRUE(Space().complete());
}

// The device itself is a point like any other, and takes what the analysis of it says.
TEST(DesignSpaceTest, TheBaseDeviceTakesItsRooflineTime) {
  DesignSweepOptions options;
  options.base = FindDevice("a100-sxm-80gb").value();
  options.policies = {Policy::kNone, Policy::kLru, Policy::kManaged};
  options.batches = {8};
  const DesignSpace space = SweepDesigns(kModel, options).value();
  ASSERT_THAT(space.points, SizeIs(kNumTrafficModels));
  AnalysisOptions analysis_options;
  analysis_options.shapes.batch = 8;
  const Analysis analysis = Analyze(LoadModel(kModel).value(), analysis_options).value();
  const RooflineDevice device = RatesOf(options.base, PrecisionMode::kFp32, {}).value();
  const Roofline roofline = ComputeRoofline(analysis.cost, analysis.lru, analysis.managed, device, {}).value();
  for (int model = 0; model < kNumTrafficModels; ++model) {
    const double expected = roofline.under[model].step_seconds;
    EXPECT_NEAR(space.points[model].step_seconds, expected, 1e-12 * expected);
    EXPECT_EQ(space.points[model].traffic_bytes, roofline.under[model].traffic_bytes);
    EXPECT_NEAR(space.points[model].compute_utilization, roofline.under[model].compute_utilization, 1e-12);
  }
  EXPECT_NEAR(*space.points[2].prefetch_step_seconds, roofline.prefetch.step_seconds,
              1e-12 * roofline.prefetch.step_seconds);
}

// More of anything never takes longer or moves more; the managed policy is never above LRU, LRU never above none.
TEST(DesignSpaceTest, IsMonotone) {
  for (const DesignPoint& a : Space().points) {
    EXPECT_LE(a.compute_utilization, 1);
    EXPECT_LE(a.memory_bound_seconds, a.step_seconds * (1 + 1e-12));
    if (a.prefetch_step_seconds.has_value()) {
      EXPECT_LE(*a.buffer_bytes, a.capacity_bytes);
    }
    for (const DesignPoint& b : Space().points) {
      const bool more = b.policy >= a.policy && b.capacity_bytes >= a.capacity_bytes &&
                        b.bandwidth_bytes_per_second >= a.bandwidth_bytes_per_second &&
                        b.throughput_flops_per_second >= a.throughput_flops_per_second;
      if (!more) continue;
      EXPECT_LE(b.traffic_bytes, a.traffic_bytes);
      EXPECT_LE(b.step_seconds, a.step_seconds * (1 + 1e-12));
    }
  }
}

TEST(DesignSpaceTest, TheFrontIsWhatNobodyBeats) {
  for (const DesignPoint& point : Space().points) {
    const bool beaten = std::any_of(Space().points.begin(), Space().points.end(), [&](const DesignPoint& other) {
      return *other.cost <= *point.cost && other.step_seconds <= point.step_seconds &&
             (*other.cost < *point.cost || other.step_seconds < point.step_seconds);
    });
    EXPECT_FALSE(beaten && point.on_front);
    // Of several equal designs one stands for all.
    const bool equal_on_front =
        std::any_of(Space().points.begin(), Space().points.end(), [&](const DesignPoint& other) {
          return other.on_front && *other.cost == *point.cost && other.step_seconds == point.step_seconds;
        });
    EXPECT_TRUE(beaten || equal_on_front);
  }
}

TEST(DesignSpaceTest, EqualDesignsAreEquallyFast) {
  const DesignSweepOptions options = SmallGrid();
  int checked = 0;
  for (const IsoPoint& iso : Space().iso) {
    if (!std::isfinite(iso.bandwidth_bytes_per_second)) continue;
    DesignSweepOptions one = options;
    one.axes = {{iso.capacity_bytes}, {iso.bandwidth_bytes_per_second}, {iso.throughput_flops_per_second}};
    one.policies = {iso.policy};
    if (++checked % 8 != 0) continue;  // an analysis each
    const DesignSpace space = SweepDesigns(kModel, one).value();
    EXPECT_NEAR(space.points[0].step_seconds, iso.step_seconds, 2e-6 * iso.step_seconds);
  }
  EXPECT_GT(checked, 20);
}

TEST(DesignSpaceTest, KneesAddUpToWhatIsSaved) {
  for (const Policy policy : {Policy::kLru, Policy::kManaged}) {
    int64_t saved = 0, traffic = 0;
    for (const Knee& knee : Space().knees) {
      if (knee.policy != policy) continue;
      saved += knee.saved_bytes;
      traffic = knee.traffic_bytes;
    }
    EXPECT_EQ(saved + traffic, Space().points[0].traffic_bytes) << "of policy none";
  }
}

TEST(DesignSpaceTest, ThreadsChangeNothing) {
  DesignSweepOptions options = SmallGrid();
  const DesignSpace one = SweepDesigns(kModel, options).value();
  options.threads = 4;
  const DesignSpace four = SweepDesigns(kModel, options).value();
  EXPECT_EQ(RenderDesignCsv(one), RenderDesignCsv(four));
}

TEST(DesignSpaceTest, StopsWithWhatIsDone) {
  DesignSweepOptions options = SmallGrid();
  const std::atomic<bool> stop = true;
  options.stop = &stop;
  const DesignSpace space = SweepDesigns(kModel, options).value();
  EXPECT_THAT(space.points, IsEmpty());
  EXPECT_FALSE(space.complete());
  EXPECT_THAT(RenderSections(DesignSections(space, DesignMetric::kTime, 10), Terminal()), HasSubstr("stopped"));
}

// Kernels in tiles: the best mix is never worse than one buffer or two; the rest of a design does not change.
TEST(DesignSpaceTest, TilesAreAddedWhenAskedFor) {
  EXPECT_FALSE(Space().points[0].tiled_step_seconds.has_value());
  const auto sweep = [](Buffering buffering) {
    DesignSweepOptions options = SmallGrid();
    options.buffering = buffering;
    return SweepDesigns(kModel, options).value();
  };
  const DesignSpace one = sweep(Buffering::kSingle), two = sweep(Buffering::kDouble), best = sweep(Buffering::kBest);
  ASSERT_EQ(best.points.size(), Space().points.size());
  for (size_t p = 0; p < best.points.size(); ++p) {
    const double shortest = std::min(*one.points[p].tiled_step_seconds, *two.points[p].tiled_step_seconds);
    EXPECT_LE(*best.points[p].tiled_step_seconds, shortest * (1 + 1e-12));
    EXPECT_EQ(*one.points[p].double_buffered_kernels, 0);
    EXPECT_GE(*two.points[p].tiled_traffic_bytes, *one.points[p].tiled_traffic_bytes);
    EXPECT_EQ(best.points[p].step_seconds, Space().points[p].step_seconds);
  }
}

TEST(DesignSpaceTest, TooManyPointsAreAnError) {
  DesignSweepOptions options = SmallGrid();
  options.axes.capacities_bytes.assign(10'000, 1);
  options.axes.bandwidths_bytes_per_second.assign(10'000, 1);
  EXPECT_EQ(SweepDesigns(kModel, options).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(DesignSpaceTest, TheTableShowsTheMetricThatIsAskedFor) {
  DesignSweepOptions options = SmallGrid();
  options.axes.throughputs_flops_per_second.resize(1);
  options.policies = {Policy::kManaged};
  const DesignSpace space = SweepDesigns(kModel, options).value();
  const DesignPoint& point = space.points[7];
  // The grid under its title; other tables of the page have numbers of their own.
  const auto shown = [&](DesignMetric metric, absl::string_view title) {
    for (const Section& section : DesignSections(space, metric, 10)) {
      if (absl::StartsWith(section.title, absl::StrCat(title, ": "))) return RenderSections({section}, Terminal());
    }
    return std::string("no grid");
  };
  EXPECT_THAT(shown(DesignMetric::kTime, "Step time"), HasSubstr(FormatSeconds(point.step_seconds)));
  EXPECT_THAT(shown(DesignMetric::kPrefetch, "Step time, transfers ahead of use"),
              HasSubstr(FormatSeconds(*point.prefetch_step_seconds)));
  EXPECT_THAT(shown(DesignMetric::kStalls, "Stalls"), HasSubstr(FormatSeconds(point.stall_seconds)));
  EXPECT_THAT(shown(DesignMetric::kTraffic, "Traffic"), HasSubstr(FormatBytes(point.traffic_bytes)));
  EXPECT_THAT(shown(DesignMetric::kBandwidth, "Average bandwidth"),
              HasSubstr(FormatRate(point.average_bandwidth(), "B")));
  EXPECT_THAT(shown(DesignMetric::kUtilization, "Compute utilization"),
              HasSubstr(FormatPercent(point.compute_utilization)));
  EXPECT_THAT(shown(DesignMetric::kBuffer, "Buffer in use"), HasSubstr(FormatBytes(*point.buffer_bytes)));
  EXPECT_THAT(shown(DesignMetric::kEnergy, "Energy at rated power"), HasSubstr(FormatCount(*point.energy_joules, "J")));
}

// Shares are of what there is, and more capacity never captures less.
TEST(DesignSpaceTest, CapturedReuseGrowsWithTheCapacity) {
  ASSERT_FALSE(Space().captured.empty());
  std::map<ReuseScope, int64_t> before;
  for (const CapturedReuse& captured : Space().captured) {
    EXPECT_LE(captured.captured_bytes, captured.reusable_bytes);
    EXPECT_GE(captured.captured_bytes, before[captured.scope]);
    before[captured.scope] = captured.captured_bytes;
  }
}

TEST(DesignSpaceTest, VerdictsNameEquallyFastDesignsAndTheKnee) {
  const std::vector<std::string> verdict = DesignVerdict(Space());
  EXPECT_THAT(verdict, Contains(AllOf(HasSubstr("is as fast as"), HasSubstr("A100"), HasSubstr("lru"))));
  EXPECT_THAT(verdict, Contains(HasSubstr("The knee of traffic is at")));
  EXPECT_THAT(verdict, Not(Contains(HasSubstr("none"))));
}

TEST(DesignSpaceTest, JsonObeysItsSchemaAndCsvHasALineAPoint) {
  const auto schema = nlohmann::json::parse(ReadTextFile(REUSESCOPE_SOURCE_DIR "/cli/sweep.schema.json"));
  const auto document = nlohmann::json::parse(RenderDesignJson(Space()));
  EXPECT_THAT(SchemaErrors(schema, document), IsEmpty());
  const std::string csv = RenderDesignCsv(Space());
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), static_cast<int64_t>(Space().points.size()) + 1);
}

}  // namespace
}  // namespace reusescope::cli
