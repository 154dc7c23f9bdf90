// reusescope plan as a program: its JSON is a contract, and the file goes on to analyze and differentiate.

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/cli/json_schema.h"
#include "tests/cli/run_program.h"

namespace reusescope::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

class PlanCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              absl::StrCat("plan_", testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string In(const std::string& name) const { return (folder_ / name).string(); }

  std::filesystem::path folder_;
};

Json RunJson(const std::string& command) {
  const ProgramRun run = RunShell(absl::StrCat(command, " --format json"));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return run.exit_code == 0 ? Json::parse(run.out) : Json::object();
}

TEST_F(PlanCommandTest, JsonObeysItsSchemaWithAndWithoutADevice) {
  const Json schema = Json::parse(ReadTextFile(REUSESCOPE_SOURCE_DIR "/cli/plan.schema.json"));
  const std::string plan = "plan models/resnet18.onnx --batch 16 --memory 345MiB --time-limit 0";
  const Json flops = RunJson(plan), seconds = RunJson(absl::StrCat(plan, " --hardware a100"));
  EXPECT_THAT(SchemaErrors(schema, flops), IsEmpty());
  EXPECT_THAT(SchemaErrors(schema, seconds), IsEmpty());
  EXPECT_TRUE(flops["step_seconds"].is_null());
  EXPECT_TRUE(seconds["step_flops"].is_null());
  EXPECT_GT(seconds["added_seconds"], 0);
  EXPECT_LE(seconds["peak_bytes"], 345 << 20);
  const Json solved =
      RunJson("plan tests/gradients/models/tiny_resnet.ts17.onnx --loss none --memory 160KiB --time-limit 2");
  EXPECT_THAT(SchemaErrors(schema, solved), IsEmpty());
  EXPECT_THAT(solved["program"]["state"].get<std::string>(), testing::AnyOf("optimal", "stopped"));
}

TEST_F(PlanCommandTest, AnalyzeAndDifferentiateTakeThePlan) {
  const std::string file = In("plan.json"), step = In("step.onnx");
  const Json analysed_alone = RunJson("analyze models/resnet18.onnx --batch 16");
  ASSERT_EQ(RunShell(absl::StrCat(
                         "plan models/resnet18.onnx --batch 16 --memory 345MiB --time-limit 0 --format json -o ", file))
                .exit_code,
            0);
  const Json plan = Json::parse(ReadTextFile(file));
  const Json analysed = RunJson(absl::StrCat("analyze models/resnet18.onnx --batch 16 --checkpoint=@", file));
  EXPECT_EQ(analysed["memory"]["peak_bytes"], plan["peak_bytes"]);
  EXPECT_EQ(analysed_alone["memory"]["peak_bytes"], plan["keep_all_bytes"]);
  EXPECT_EQ(analysed["settings"]["checkpoint"], absl::StrCat("a plan of ", plan["keep"].size(), " values"));
  // The training graph carries the plan with it.
  const ProgramRun written =
      RunShell(absl::StrCat("differentiate models/resnet18.onnx --batch 16 --loss=auto "
                            "--optimizer=adamw --checkpoint=@",
                            file, " -o ", step));
  ASSERT_EQ(written.exit_code, 0) << written.err;
  std::filesystem::remove(file);
  EXPECT_EQ(RunJson(absl::StrCat("analyze ", step))["memory"]["peak_bytes"], plan["peak_bytes"]);
}

TEST_F(PlanCommandTest, ErrorsSayWhatWouldBeRight) {
  const ProgramRun small = RunShell("plan models/resnet18.onnx --batch 16 --memory 10MiB");
  EXPECT_EQ(small.exit_code, 1);
  EXPECT_THAT(small.err, HasSubstr("the least with recomputation is"));
  EXPECT_THAT(small.err, HasSubstr("--batch=auto"));
  EXPECT_THAT(RunShell("plan models/resnet18.onnx").err, HasSubstr("--memory 24GiB"));
  EXPECT_EQ(RunShell("plan models/resnet18.onnx --memory lots").exit_code, 2);
  EXPECT_EQ(RunShell("plan models/resnet18.onnx --memory 5GiB --batch many").exit_code, 2);
  EXPECT_THAT(RunShell("analyze models/lenet5.onnx --checkpoint=@nowhere.json").err,
              HasSubstr("no plan 'nowhere.json'"));
  EXPECT_THAT(RunShell("analyze models/lenet5.onnx --checkpoint=@models/lenet5.onnx").err, HasSubstr("is no plan"));
  // A plan of another model.
  const std::string file = In("plan.json");
  ASSERT_EQ(RunShell(absl::StrCat(
                         "plan models/resnet18.onnx --batch 16 --memory 345MiB --time-limit 0 --format json -o ", file))
                .exit_code,
            0);
  EXPECT_THAT(RunShell(absl::StrCat("analyze models/lenet5.onnx --checkpoint=@", file)).err,
              HasSubstr("expected a plan of this model"));
}

TEST_F(PlanCommandTest, FindsTheLargestBatch) {
  const Json plan = RunJson("plan models/resnet18.onnx --batch auto --memory 450MiB --time-limit 0");
  const int64_t keep_all = plan["largest_batch"]["keep_all"], planned = plan["largest_batch"]["planned"];
  EXPECT_GT(planned, keep_all);
  EXPECT_EQ(plan["batch"], planned);
  EXPECT_LE(plan["peak_bytes"], 450 << 20);
  EXPECT_EQ(RunShell(absl::StrCat("plan models/resnet18.onnx --time-limit 0 --memory 450MiB --batch ", planned + 1))
                .exit_code,
            1);
}

}  // namespace
}  // namespace reusescope::cli
