// The JSON of analyze is a contract: it obeys cli/analysis.schema.json and its numbers agree with each other.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/cli/json_schema.h"
#include "tests/cli/run_program.h"

namespace reusescope::cli {
namespace {

using ::testing::IsEmpty;
using Json = nlohmann::json;

const Json& Schema() {
  static const Json* schema = new Json(Json::parse(ReadTextFile(REUSESCOPE_SOURCE_DIR "/cli/analysis.schema.json")));
  return *schema;
}

// A command line after "analyze"; every run must obey the contract.
class JsonContractTest : public testing::TestWithParam<std::string> {
 protected:
  static Json Run(const std::string& command) {
    const ProgramRun run = RunShell(absl::StrCat("analyze ", command, " --format json"));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return run.exit_code == 0 ? Json::parse(run.out) : Json();
  }
};

TEST_P(JsonContractTest, ObeysItsSchema) { EXPECT_THAT(SchemaErrors(Schema(), Run(GetParam())), IsEmpty()); }

TEST_P(JsonContractTest, TotalsAreSumsOfLayers) {
  const Json report = Run(GetParam());
  for (const char* count : {"macs", "flops", "contraction_flops", "transcendentals", "bytes"}) {
    std::map<std::string, int64_t> sums;
    for (const Json& layer : report["layers"]) {
      sums[layer["phase"]] += layer[count].get<int64_t>();
      sums["step"] += layer[count].get<int64_t>();
    }
    for (const auto& [phase, sum] : sums) EXPECT_EQ(report["totals"][phase][count], sum) << phase << " " << count;
  }
  EXPECT_EQ(report["totals"]["step"]["kernels"], report["layers"].size());
  EXPECT_EQ(report["memory"]["timeline"].size(), report["layers"].size());
}

TEST_P(JsonContractTest, TheCurveFallsAndManagedIsNeverWorse) {
  const Json report = Run(GetParam());
  const Json& curve = report["reuse"]["curve"];
  ASSERT_GE(curve.size(), 2u);
  EXPECT_EQ(curve[0]["capacity_bytes"], 0);
  EXPECT_EQ(curve[0]["lru_bytes"], report["totals"]["step"]["bytes"]);
  for (size_t i = 0; i < curve.size(); ++i) {
    EXPECT_LE(curve[i]["managed_bytes"], curve[i]["lru_bytes"]);
    if (i == 0) continue;
    EXPECT_GT(curve[i]["capacity_bytes"], curve[i - 1]["capacity_bytes"]);
    EXPECT_LE(curve[i]["lru_bytes"], curve[i - 1]["lru_bytes"]);
    EXPECT_LE(curve[i]["managed_bytes"], curve[i - 1]["managed_bytes"]);
  }
}

TEST_P(JsonContractTest, ThePeakIsTheHighestPointOfTheTimeline) {
  const Json report = Run(GetParam());
  const Json& memory = report["memory"];
  int64_t highest = 0;
  for (const Json& sample : memory["timeline"]) {
    highest = std::max(highest, sample["bytes"].get<int64_t>());
    int64_t sum = 0;
    for (const auto& [kind, bytes] : sample.items()) sum += kind == "bytes" ? 0 : bytes.get<int64_t>();
    EXPECT_EQ(sum, sample["bytes"]);
  }
  EXPECT_EQ(memory["peak_bytes"], highest);
  int64_t alive = 0;
  for (const Json& tensor : memory["live_at_peak"]) alive += tensor["bytes"].get<int64_t>();
  EXPECT_EQ(alive, highest);
}

TEST_P(JsonContractTest, TimesFollowTheRoofline) {
  const Json report = Run(GetParam());
  if (report["rooflines"].empty()) {
    EXPECT_TRUE(report["roofline"].is_null());
    EXPECT_TRUE(report["layers"][0]["seconds"].is_null());
    EXPECT_TRUE(report["layers"][0]["bound"].is_null());
    return;
  }
  EXPECT_EQ(report["roofline"], report["rooflines"][0]);
  for (const Json& roofline : report["rooflines"]) {
    double sum = 0;
    for (size_t k = 0; k < report["layers"].size(); ++k) {
      const double seconds = roofline["layer_seconds"][k];
      const double moving =
          report["layers"][k]["bytes"].get<double>() / roofline["bandwidth_bytes_per_second"].get<double>();
      EXPECT_GE(seconds, moving * (1 - 1e-12));
      sum += seconds;
    }
    EXPECT_NEAR(roofline["step_seconds"].get<double>(), sum, 1e-9 * sum);
    EXPECT_LE(roofline["step_seconds_with_twice_bandwidth"], roofline["step_seconds"]);
    EXPECT_GE(roofline["step_seconds_with_twice_bandwidth"].get<double>(), sum / 2 * (1 - 1e-9));
    EXPECT_LE(roofline["traffic_models"]["managed"]["step_seconds"].get<double>(), sum * (1 + 1e-9));
    EXPECT_LE(roofline["memory_bound_share"], 1.0 + 1e-9);
  }
  EXPECT_EQ(report["memory"]["fits"], report["roofline"]["fits"]);
}

INSTANTIATE_TEST_SUITE_P(
    Analyze, JsonContractTest,
    testing::Values("models/lenet5.onnx", "models/lenet5.onnx --batch 32 --hardware a100-sxm-80gb --hardware rtx-4090",
                    "models/lenet5.onnx --batch 8 --mode inference --hardware t4",
                    "models/lenet5.onnx --precision amp-bf16 --optimizer sgd --hardware h100-sxm --peak",
                    "models/lenet5.onnx --capacity 24KiB,1MiB --capacity 3MB --update-order eager --loss none",
                    "models/resnet18.onnx --batch 2 --hardware 'capacity=8MiB,bandwidth=1TB/s,throughput=100TFLOP/s'"));

TEST(JsonReportTest, AskedCapacitiesAreOnTheCurve) {
  const ProgramRun run = RunShell("analyze models/lenet5.onnx --capacity 24KiB,1000 --capacity 3MB --format json");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  std::vector<int64_t> capacities;
  const Json report = Json::parse(run.out);
  for (const Json& row : report["reuse"]["curve"]) capacities.push_back(row["capacity_bytes"]);
  EXPECT_THAT(capacities, testing::IsSupersetOf({int64_t{24} << 10, int64_t{1000}, int64_t{3'000'000}}));
}

TEST(JsonReportTest, TheBatchScalesWork) {
  const ProgramRun one = RunShell("analyze models/lenet5.onnx --batch 1 --mode inference --format json");
  const ProgramRun eight = RunShell("analyze models/lenet5.onnx --batch 8 --mode inference --format json");
  ASSERT_EQ(one.exit_code + eight.exit_code, 0) << one.err << eight.err;
  const int64_t macs = Json::parse(one.out)["totals"]["forward"]["macs"];
  EXPECT_GT(macs, 0);
  EXPECT_EQ(Json::parse(eight.out)["totals"]["forward"]["macs"], 8 * macs);
}

// One line per kernel, every line with as many fields as the header; what is quoted stays one field.
TEST(CsvReportTest, HasOneRowPerKernel) {
  const std::string command = "analyze models/lenet5.onnx --hardware t4 --hardware l4 --format ";
  const ProgramRun csv = RunShell(command + "csv");
  ASSERT_EQ(csv.exit_code, 0) << csv.err;
  std::vector<size_t> fields;
  bool quoted = false;
  size_t count = 1;
  for (char c : csv.out) {
    if (c == '"') quoted = !quoted;
    if (c == ',' && !quoted) ++count;
    if (c == '\n' && !quoted) {
      fields.push_back(count);
      count = 1;
    }
  }
  const Json report = Json::parse(RunShell(command + "json").out);
  EXPECT_EQ(fields.size(), report["layers"].size() + 1);
  for (size_t row_fields : fields) EXPECT_EQ(row_fields, 15u + 2 * 2);
  EXPECT_THAT(csv.out, testing::StartsWith("name,module,op,phase,block,macs,flops,"));
  EXPECT_THAT(csv.out, testing::HasSubstr("seconds:t4,bound:t4,seconds:l4,bound:l4"));
}

// The checker itself: a schema test that cannot fail would be worth nothing.
TEST(SchemaCheckerTest, FindsWhatIsWrong) {
  const Json schema = Json::parse(
      R"({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 0},
          "b": {"enum": ["x", null]}, "c": {"type": "array", "items": {"$ref": "#/$defs/n"}},
          "d": {"anyOf": [{"type": "null"}, {"type": "string"}]}}, "$defs": {"n": {"type": "number"}}})");
  const auto errors = [&](const char* text) { return SchemaErrors(schema, Json::parse(text)).size(); };
  EXPECT_EQ(errors(R"({"a": 1, "b": null, "c": [1, 2.5], "d": "x"})"), 0u);
  EXPECT_EQ(errors(R"({})"), 1u);
  EXPECT_EQ(errors(R"({"a": 1.5})"), 1u);
  EXPECT_EQ(errors(R"({"a": -1})"), 1u);
  EXPECT_EQ(errors(R"({"a": 1, "b": "y"})"), 1u);
  EXPECT_EQ(errors(R"({"a": 1, "c": ["1", 2, null]})"), 2u);
  EXPECT_EQ(errors(R"({"a": 1, "d": 4})"), 1u);
  EXPECT_EQ(errors(R"({"a": 1, "new": 4})"), 1u);
  EXPECT_EQ(errors(R"([])"), 1u);
  EXPECT_EQ(SchemaErrors(Json::parse(R"({"pattern": "x"})"), Json("x")).size(), 1u);
}

}  // namespace
}  // namespace reusescope::cli
