// Mini-batch serialization as it is printed, and docs/serialization.md as it should read.

#include "cli/serialization_report.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/measure/time_surface.h"
#include "cli/units.h"
#include "cli/views/serialization_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "nlohmann/json.hpp"
#include "tests/cli/json_schema.h"
#include "tests/cli/run_program.h"

namespace reusescope::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string ModelPath(const std::string& file) { return absl::StrCat(REUSESCOPE_SOURCE_DIR, "/models/", file); }

SerializationRequest Request(int64_t batch) {
  SerializationRequest request;
  request.hardware = FindDevice("wavecore").value();
  request.analysis.shapes.batch = batch;
  request.analysis.precision = PrecisionMode::kFp16;
  request.analysis.optimizer = Optimizer::kMomentum;
  return request;
}

const Schedule& Find(const SerializationReport& report, const std::string& name, std::optional<bool> branch_reuse) {
  for (const Schedule& schedule : report.schedules) {
    if (schedule.name == name && schedule.branch_reuse == branch_reuse) return schedule;
  }
  ADD_FAILURE() << "no schedule " << name;
  return report.schedules[0];
}

TEST(SerializationReportTest, IsOfOneCore) {
  const SerializationReport report = MakeSerializationReport(ModelPath("resnet50.onnx"), Request(32)).value();
  EXPECT_EQ(report.cores, 2);
  EXPECT_EQ(report.core.on_chip_bytes, 10 << 20);
  EXPECT_DOUBLE_EQ(report.core.matrix_flops_per_second, 128 * 128 * 2 * 0.7e9);
  EXPECT_DOUBLE_EQ(report.core.bandwidth_bytes_per_second, 307e9 / 2);
  // A change of what is computed is said.
  EXPECT_THAT(RenderSectionsMarkdown(SerializationSections(report, 5)), HasSubstr("group normalization"));
}

TEST(SerializationReportTest, SerializedMovesLeastAndTilesMoveMost) {
  const SerializationReport report = MakeSerializationReport(ModelPath("resnet50.onnx"), Request(32)).value();
  const Schedule& kernels = report.schedules[0];
  const Schedule& best = Find(report, "serialized, optimal", true);
  EXPECT_EQ(best.traffic_bytes, report.plan.traffic_bytes);
  EXPECT_LT(best.traffic_bytes, Find(report, "software-managed", std::nullopt).traffic_bytes);
  EXPECT_LE(best.traffic_bytes, Find(report, "serialized, greedy", true).traffic_bytes);
  EXPECT_GT(report.Speedup(best), 1.5);
  const Schedule& one = Find(report, "in tiles, buffering single", std::nullopt);
  const Schedule& two = Find(report, "in tiles, buffering double", std::nullopt);
  const Schedule& mix = Find(report, "in tiles, buffering best", std::nullopt);
  EXPECT_GE(one.traffic_bytes, kernels.traffic_bytes);
  EXPECT_GE(two.traffic_bytes, one.traffic_bytes);
  EXPECT_LE(mix.step_seconds, std::min(one.step_seconds, two.step_seconds) * (1 + 1e-12));
  EXPECT_GE(two.step_seconds, kernels.step_seconds * (1 - 1e-12));
}

TEST(SerializationReportTest, JsonObeysItsSchemaAndCsvHasALineALink) {
  SerializationRequest request = Request(16);
  request.capacity_bytes = 64 << 10;
  request.grouping = Grouping::kExhaustive;
  const SerializationReport report = MakeSerializationReport(ModelPath("lenet5.onnx"), request).value();
  const auto schema = nlohmann::json::parse(ReadTextFile(REUSESCOPE_SOURCE_DIR "/cli/serialize.schema.json"));
  EXPECT_THAT(SchemaErrors(schema, nlohmann::json::parse(RenderSerializationJson(report))), IsEmpty());
  const std::string csv = RenderSerializationCsv(report);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), static_cast<int64_t>(report.chain.size()) + 1);
}

TEST(SerializationReportTest, TooLongAChainToTryAllIsAnError) {
  SerializationRequest request = Request(32);
  request.grouping = Grouping::kExhaustive;
  const absl::Status status = MakeSerializationReport(ModelPath("resnet50.onnx"), request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--grouping=optimal"));
}

struct Network {
  const char* name;
  const char* file;
  int64_t batch;
};
constexpr Network kNetworks[] = {{"ResNet-50", "resnet50.onnx", 32},
                                 {"ResNet-101", "resnet101.ts17.train.onnx", 32},
                                 {"ResNet-152", "resnet152.ts17.train.onnx", 32},
                                 {"Inception v3", "inception_v3.ts17.train.onnx", 32},
                                 {"Inception v4", "inception_v4.ts17.train.onnx", 32},
                                 {"AlexNet", "alexnet.ts11.eval.onnx", 64}};
constexpr const char* kMemories[] = {"wavecore-hbm2x2", "wavecore-gddr5", "wavecore", "wavecore-lpddr4"};

// Shares of traffic saved, and speed-ups by kind of memory.
struct Reproduced {
  double fetched = 0, kept = 0, optimal = 0, with_passes = 0;
  std::vector<double> speedups;
};

Reproduced Reproduce(const Network& network) {
  const SerializationRequest request = Request(network.batch);
  const Analysis analysis = Analyze(LoadModel(ModelPath(network.file)).value(), request.analysis).value();
  const auto serializer = [&](bool branch_reuse) {
    return Serializer::Make(analysis.training, analysis.cost, analysis.blocks,
                            {.batch = network.batch, .capacity_bytes = 10 << 20, .branch_reuse = branch_reuse})
        .value();
  };
  const auto base = static_cast<double>(analysis.lru.compulsory_bytes());
  const auto saved = [&](const Serialization& plan) { return 1 - static_cast<double>(plan.traffic_bytes) / base; };
  const Serializer keeping = serializer(true);
  const Serialization kept = keeping.Plan(Grouping::kGreedy);
  Reproduced result{.fetched = saved(serializer(false).Plan(Grouping::kGreedy)),
                    .kept = saved(kept),
                    .optimal = saved(keeping.Plan(Grouping::kOptimal))};
  double passes = base, kept_passes = static_cast<double>(kept.traffic_bytes);
  const std::vector<int64_t> extra = NormalizationPasses(analysis.training, analysis.cost);
  for (const int64_t bytes : extra) passes += static_cast<double>(bytes);
  for (const SerialGroup& group : kept.groups) {
    for (int l = group.first; l < group.end && !group.serialized; ++l) {
      for (const int32_t k : keeping.chain()[l].forward) kept_passes += static_cast<double>(extra[k]);
      for (const int32_t k : keeping.chain()[l].backward) kept_passes += static_cast<double>(extra[k]);
    }
  }
  result.with_passes = 1 - kept_passes / passes;
  for (const char* memory : kMemories) {
    const RooflineDevice device = RatesOf(FindDevice(memory).value(), PrecisionMode::kFp16, {}).value();
    const auto seconds = [&](const std::vector<KernelTraffic>& traffic) {
      // Of one core of two, with half of everything: the ratio is that of twice the samples on both.
      return TimeSurface(LoadsAt(analysis.cost, traffic, device))
          .StepSeconds({.bandwidth_bytes_per_second = device.bandwidth_bytes_per_second});
    };
    result.speedups.push_back(seconds(analysis.lru.KernelTrafficAt(0)) / seconds(kept.kernels));
  }
  return result;
}

std::string Row(const std::string& name, const std::string& batch, const Reproduced& r) {
  std::vector<std::string> cells = {name, batch};
  for (const double share : {r.fetched, r.kept, r.optimal, r.with_passes}) cells.push_back(FormatPercent(share));
  for (const double speedup : r.speedups) cells.push_back(FormatRatio(speedup));
  return absl::StrCat("| ", absl::StrJoin(cells, " | "), " |");
}

Reproduced Average(absl::Span<const Reproduced> results) {
  Reproduced sum{.speedups = std::vector<double>(std::size(kMemories), 0)};
  const double share = 1.0 / static_cast<double>(results.size());
  for (const Reproduced& r : results) {
    sum.fetched += share * r.fetched;
    sum.kept += share * r.kept;
    sum.optimal += share * r.optimal;
    sum.with_passes += share * r.with_passes;
    for (size_t i = 0; i < sum.speedups.size(); ++i) sum.speedups[i] += share * r.speedups[i];
  }
  return sum;
}

TEST(SerializeCommandTest, TheDefaultsAnalyse) {
  const ProgramRun run = RunProgram({"serialize", REUSESCOPE_SOURCE_DIR "/models/lenet5.onnx"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("WaveCore"), HasSubstr("fp16")));
}

// Published: 75 % less traffic on "modern deep" networks, 53 % more performance.
TEST(SerializationReportTest, TheDocumentIsWhatTheProgramFinds) {
  const std::string document = ReadTextFile(REUSESCOPE_SOURCE_DIR "/docs/serialization.md");
  std::vector<Reproduced> results;
  for (const Network& network : kNetworks) {
    results.push_back(Reproduce(network));
    EXPECT_THAT(document, HasSubstr(Row(network.name, absl::StrCat(network.batch), results.back())));
    EXPECT_GE(results.back().optimal, results.back().kept);
    EXPECT_GT(results.back().speedups[3], 1);
  }
  const Reproduced deep = Average(absl::MakeConstSpan(results).first(5)), all = Average(results);
  EXPECT_THAT(document, HasSubstr(Row("average without AlexNet", "", deep)));
  EXPECT_THAT(document, HasSubstr(Row("average", "", all)));
  EXPECT_NEAR(deep.kept, 0.75, 0.10);
  EXPECT_NEAR(deep.with_passes, 0.75, 0.05);
}

}  // namespace
}  // namespace reusescope::cli
