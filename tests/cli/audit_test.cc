// audit, compare and devices as programs: contracts, and numbers held against analyze.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/cli/json_schema.h"
#include "tests/cli/run_program.h"

namespace reusescope::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Json = nlohmann::json;

Json RunJson(const std::string& command) {
  const ProgramRun run = RunShell(absl::StrCat(command, " --format json"));
  EXPECT_EQ(run.exit_code, 0) << command << "\n" << run.err;
  return run.exit_code == 0 ? Json::parse(run.out) : Json();
}

Json SchemaOf(const std::string& name) {
  return Json::parse(ReadTextFile(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/cli/", name, ".schema.json")));
}

const Json& RowOf(const Json& audit, const std::string& device) {
  for (const Json& row : audit["devices"]) {
    if (row["device"] == device) return row;
  }
  ADD_FAILURE() << "no row of " << device;
  static const Json& none = *new Json;
  return none;
}

TEST(AuditTest, ObeysItsSchema) {
  for (const char* command :
       {"audit models/resnet50.onnx", "audit models/bert_base.ts17.train.onnx --mode inference --devices nvidia",
        "audit models/resnet50.onnx:0.7 models/lenet5.onnx:0.3 --price h100-sxm=3.5/h --price a100=20000"}) {
    EXPECT_THAT(SchemaErrors(SchemaOf("audit"), RunJson(command)), IsEmpty()) << command;
  }
}

// The batch that audit names fits by the memory model, one more does not, and the step takes what analyze says.
TEST(AuditTest, LargestBatchAndTimeAreWhatAnalyzeSays) {
  const Json audit = RunJson("audit models/resnet50.onnx --devices a100-sxm-80gb,v100-sxm2-16gb --max-devices 1");
  for (const char* name : {"a100-sxm-80gb", "v100-sxm2-16gb"}) {
    const Json& row = RowOf(audit, name);
    ASSERT_FALSE(row["best"].is_null()) << row;
    const Json& candidate = row["candidates"][row["best"].get<size_t>()];
    const Json& run = candidate["runs"][0];
    const auto analyze = [&](int64_t batch) {
      return RunJson(absl::StrCat("analyze models/resnet50.onnx --hardware ", name, " --batch ", batch, " --precision ",
                                  candidate["precision"].get<std::string>()));
    };
    const int64_t batch = run["largest_batch"];
    const Json at = analyze(batch);
    EXPECT_EQ(at["memory"]["fits"], true);
    EXPECT_EQ(at["memory"]["peak_bytes"], run["peak_bytes"]);
    EXPECT_NEAR(at["roofline"]["step_seconds"].get<double>() / run["step_seconds"].get<double>(), 1, 1e-9);
    EXPECT_EQ(analyze(batch + 1)["memory"]["fits"], false);
  }
}

TEST(AuditTest, FrontHasNoDominatedDevice) {
  const Json audit = RunJson("audit models/resnet50.onnx --devices nvidia");
  int on_front = 0;
  for (const Json& row : audit["devices"]) {
    if (!row["pareto_front"].get<bool>()) continue;
    ++on_front;
    const Json& mine = row["candidates"][row["best"].get<size_t>()];
    for (const Json& other : audit["devices"]) {
      if (other["best"].is_null()) continue;
      const Json& rival = other["candidates"][other["best"].get<size_t>()];
      if (rival["energy_joules"].is_null()) continue;
      EXPECT_FALSE(rival["energy_joules"] < mine["energy_joules"] && rival["seconds"] < mine["seconds"])
          << other["device"] << " dominates " << row["device"];
    }
  }
  EXPECT_GE(on_front, 2);
}

TEST(AuditTest, DeadlineBudgetAndFitThrowDevicesOut) {
  const Json late =
      RunJson("audit models/resnet50.onnx --devices v100-sxm2-16gb --samples 1e9 --deadline 1h --max-devices 2");
  EXPECT_THAT(late["devices"][0]["dropped"].get<std::string>(), HasSubstr("takes"));
  const Json dear =
      RunJson("audit models/resnet50.onnx --devices h100-sxm --price h100-sxm=1000/h --budget 1 --samples 1e7");
  EXPECT_THAT(dear["devices"][0]["dropped"].get<std::string>(), HasSubstr("USD"));
  const Json big = RunJson("audit models/tinyllama_1b.dynamo18.eval.onnx --devices titan-xp --precision fp32");
  EXPECT_THAT(big["devices"][0]["dropped"].get<std::string>(), AllOf(HasSubstr("needs"), HasSubstr("link")));
}

// Twice as many devices where one is too slow; ZeRO where one is too small.
TEST(AuditTest, MoreDevicesWhereTheyAreNeeded) {
  const Json one = RunJson("audit models/resnet50.onnx --devices a100-sxm-80gb --samples 1e8");
  const Json& alone = one["devices"][0]["candidates"][one["devices"][0]["best"].get<size_t>()];
  EXPECT_EQ(alone["devices"], 1);
  const double deadline = alone["seconds"].get<double>() * 0.6;
  const Json two = RunJson(
      absl::StrCat("audit models/resnet50.onnx --devices a100-sxm-80gb --samples 1e8 --deadline ", deadline, "s"));
  EXPECT_EQ(two["devices"][0]["candidates"][0]["devices"], 2);
  const Json divided =
      RunJson("audit models/tinyllama_1b.dynamo18.eval.onnx --devices v100-sxm2-16gb --precision fp32");
  ASSERT_FALSE(divided["devices"][0]["best"].is_null()) << divided["devices"][0]["dropped"];
  EXPECT_GE(divided["devices"][0]["candidates"][0]["zero_stage"], 1);
  EXPECT_GE(divided["devices"][0]["candidates"][0]["devices"], 2);
}

// Before a deadline a slower precision on twice the devices is ready first, and dearer.
TEST(AuditTest, AFasterPrecisionIsNotBeatenByMoreDevices) {
  const Json rows = RunJson(
      "audit models/resnet50.onnx --samples 1e9 --deadline 24h --max-devices 64 --devices h100-sxm --price h100=2/h")
      ["devices"];
  ASSERT_EQ(rows.size(), 1u);
  double least = std::numeric_limits<double>::infinity();
  for (const auto& candidate : rows[0]["candidates"]) least = std::min(least, candidate["cost_usd"].get<double>());
  const size_t best = rows[0]["best"].get<size_t>();
  EXPECT_GT(rows[0]["candidates"].size(), 1u);
  EXPECT_EQ(rows[0]["candidates"][best]["cost_usd"].get<double>(), least);
}

TEST(AuditTest, TableSaysWhatToTrust) {
  const ProgramRun run = RunShell("audit models/resnet50.onnx");
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("Pareto front"), HasSubstr("What would help"), HasSubstr("Fallen out"),
                             HasSubstr("measured runs"), HasSubstr("b200")));
}

TEST(AuditTest, OwnDevicesAndWrongWords) {
  const ScratchFolder folder;
  const std::string text = ReadTextFile(REUSESCOPE_SOURCE_DIR "/hwdb/devices/k80.textproto");
  std::ofstream(folder.File("mine.textproto")) << text;
  const ProgramRun own = RunShell(absl::StrCat("devices --hwdb ", folder.File("."), " --match k80"));
  EXPECT_THAT(own.out, HasSubstr("k80"));
  EXPECT_EQ(RunShell("audit models/lenet5.onnx --devices a1000").exit_code, 1);
  EXPECT_EQ(RunShell("audit models/lenet5.onnx --deadline tomorrow").exit_code, 2);
  EXPECT_EQ(RunShell("audit models/lenet5.onnx --price h100").exit_code, 2);
}

TEST(CompareTest, ObeysItsSchema) {
  for (const char* command : {"compare models/resnet18.onnx models/resnet50.onnx --batch 8 --hardware a100",
                              "compare models/lenet5.onnx --sweep batch=1,8 --sweep batch=32"}) {
    EXPECT_THAT(SchemaErrors(SchemaOf("compare"), RunJson(command)), IsEmpty()) << command;
  }
}

TEST(CompareTest, ColumnsAreWhatAnalyzeSays) {
  const Json compare = RunJson("compare models/resnet18.onnx models/resnet50.onnx --batch 8 --hardware a100");
  int column = 0;
  for (const char* model : {"resnet18", "resnet50"}) {
    const Json analyze = RunJson(absl::StrCat("analyze models/", model, ".onnx --batch 8 --hardware a100"));
    const std::map<std::string, Json> expected = {{"parameters", analyze["model"]["parameters"]},
                                                  {"flops", analyze["totals"]["step"]["flops"]},
                                                  {"peak_bytes", analyze["memory"]["peak_bytes"]},
                                                  {"step_seconds", analyze["roofline"]["step_seconds"]}};
    size_t seen = 0;
    for (const Json& metric : compare["metrics"]) {
      const auto value = expected.find(metric["name"]);
      if (value == expected.end()) continue;
      EXPECT_EQ(metric["values"][column].get<double>(), value->second.get<double>()) << metric["name"];
      ++seen;
    }
    EXPECT_EQ(seen, expected.size());
    ++column;
  }
}

TEST(CompareTest, AModelHasNoDifferenceFromItself) {
  const Json compare = RunJson("compare models/lenet5.onnx models/lenet5.onnx --batch 4");
  EXPECT_THAT(compare["layers"][0]["differences"], IsEmpty());
  EXPECT_GT(compare["layers"][0]["matched"], 0);
}

// Two exports of one network: what was folded away is removed, and costs add up to the difference of the whole.
TEST(CompareTest, DifferencesAddUp) {
  const Json compare = RunJson("compare models/resnet50.onnx models/resnet50.ts17.eval.onnx --batch 8 --hardware a100");
  double sum = 0;
  std::set<std::string> changes;
  for (const Json& layer : compare["layers"][0]["differences"]) {
    sum += layer["cost_after"].get<double>() - layer["cost_before"].get<double>();
    changes.insert(layer["change"]);
  }
  EXPECT_TRUE(changes.count("removed") > 0);
  for (const Json& metric : compare["metrics"]) {
    if (metric["name"] != "step_seconds") continue;
    EXPECT_NEAR(sum, metric["values"][1].get<double>() - metric["values"][0].get<double>(), 1e-9);
  }
}

TEST(CompareTest, ABarEndsWithThreeAndNamesTheLayers) {
  const ProgramRun run = RunShell(
      "compare models/resnet18.onnx models/resnet50.onnx --batch 8 --hardware a100 --fail-if 'step_seconds > 1.05'");
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, AllOf(HasSubstr("times the first's"), HasSubstr("most in")));
  EXPECT_THAT(run.out, HasSubstr("Side by side"));
  EXPECT_EQ(RunShell("compare models/resnet50.onnx models/resnet18.onnx --batch 8 --fail-if 'flops > 1.05'").exit_code,
            0);
  const ProgramRun wrong = RunShell("compare models/lenet5.onnx --fail-if 'flop > 1'");
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("flops"));
  EXPECT_EQ(RunShell("compare models/lenet5.onnx --fail-if 'flops'").exit_code, 2);
  EXPECT_EQ(RunShell("compare models/lenet5.onnx --sweep batch=a").exit_code, 2);
}

TEST(DevicesTest, SortFilterCompareCheck) {
  const ProgramRun list = RunShell("devices --match nvidia --sort bandwidth --min-memory 40GB");
  EXPECT_THAT(list.out, Not(HasSubstr("mi300x")));
  EXPECT_LT(list.out.find("b300"), list.out.find("a100-sxm-80gb"));
  EXPECT_EQ(list.out.find("v100-sxm2-16gb"), std::string::npos);
  EXPECT_THAT(RunShell("devices h100 b200").out, AllOf(HasSubstr("h100-sxm"), HasSubstr("b200"), HasSubstr("power")));
  EXPECT_THAT(RunShell("devices --check hwdb/devices/k80.textproto").out,
              AllOf(HasSubstr("keeps every rule"), HasSubstr("link")));
  EXPECT_EQ(RunShell("devices --check models/lenet5.onnx").exit_code, 1);
  EXPECT_THAT(SchemaErrors(SchemaOf("devices"), RunJson("devices")), IsEmpty());
  EXPECT_THAT(
      SchemaErrors(SchemaOf("devices"), RunJson("devices 'capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s'")),
      IsEmpty());
  const Json json = RunJson("devices --match tpu");
  for (const Json& device : json["devices"]) EXPECT_EQ(device["kind"], "tpu");
  EXPECT_GE(json["devices"].size(), 7u);
}

// All that is wrong, not the first of it, and what is missing besides.
TEST(DevicesTest, CheckTellsAllThatIsWrong) {
  const ScratchFolder folder;
  std::ofstream(folder.File("mine.textproto")) << R"(
    name: "My Card"
    kind: GPU
    peak { arithmetic: FP16 accumulate_bits: 32 unit: MATRIX flops_per_second: 1e14 sparse_flops_per_second: 5e13
           origin { source: "page" standing: CITED } }
    memory_bandwidth { bytes_per_second: -3 origin { source: "nowhere" standing: CITED } }
    power { watts: 100 origin { source: "page" standing: DERIVED } }
    source { key: "page" title: "t" url: "u" retrieved: "yesterday" }
  )";
  const ProgramRun run = RunShell("devices --check " + folder.File("mine.textproto"));
  EXPECT_EQ(run.exit_code, 1);
  for (const char* problem : {"lower-case letters", "no display name", "no vendor", "dense <= sparse",
                              "found source 'nowhere'", "memory bandwidth -3", "no on_chip memory",
                              "retrieval date 'yesterday'", "without a note", "peak FP32", "link"}) {
    EXPECT_THAT(run.out, HasSubstr(problem));
  }
}

// A user's own devices are known wherever devices are named.
TEST(DevicesTest, AFolderOfOnesOwnServesEveryCommand) {
  const ScratchFolder folder;
  std::string text = ReadTextFile(REUSESCOPE_SOURCE_DIR "/hwdb/devices/k80.textproto");
  const size_t at = text.find("name: \"k80\"");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 11, "name: \"mine\"");
  for (size_t alias = text.find("alias: "); alias != std::string::npos; alias = text.find("alias: ")) {
    text.erase(alias, text.find('\n', alias) - alias);
  }
  std::ofstream(folder.File("mine.textproto")) << text;
  const std::string own = absl::StrCat(" --hardware mine --hwdb ", folder.File("."));
  for (const char* command : {"analyze models/lenet5.onnx", "compare models/lenet5.onnx",
                              "graph models/lenet5.onnx --after=load --format dot"}) {
    EXPECT_EQ(RunShell(command + own).exit_code, 0) << command;
    EXPECT_EQ(RunShell(absl::StrCat(command, " --hardware mine")).exit_code, 2) << command;
  }
  EXPECT_EQ(RunShell(absl::StrCat("annotate models/lenet5.onnx -o ", folder.File("out.onnx"), own)).exit_code, 0);
  const Json audit = RunJson(absl::StrCat("audit models/lenet5.onnx --devices mine --hwdb ", folder.File(".")));
  EXPECT_EQ(audit["devices"][0]["device"], "mine");
}

// Who falls out says why for every precision that was tried, and a budget needs prices.
TEST(AuditTest, EveryPrecisionThatWasTriedIsNamed) {
  const Json audit = RunJson("audit models/resnet50.onnx --devices a100-pcie-80gb --samples 1e9 --deadline 1min");
  const std::string dropped = audit["devices"][0]["dropped"];
  EXPECT_THAT(dropped, AllOf(HasSubstr("amp-bf16: takes"), HasSubstr("amp-fp16: takes"), HasSubstr("tf32: takes"),
                             HasSubstr("fp32: takes")));
  const Json unpriced = RunJson("audit models/lenet5.onnx --devices t4,l4 --budget 5 --price t4=0.5/h");
  EXPECT_EQ(unpriced["devices"][0]["device"], "t4");
  EXPECT_THAT(unpriced["devices"][1]["dropped"].get<std::string>(), HasSubstr("price is not known"));
}

}  // namespace
}  // namespace reusescope::cli
