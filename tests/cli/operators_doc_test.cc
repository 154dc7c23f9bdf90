// docs/operators.md is what the registry says; `reusescope ops --markdown` writes its table.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/run_program.h"

namespace reusescope::cli {
namespace {

TEST(OperatorsDocTest, TableIsThatOfTheRegistry) {
  const ProgramRun run = RunShell("ops --markdown");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::string text = ReadTextFile(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/docs/operators.md"));
  const size_t table = text.find("| operator |");
  ASSERT_NE(table, std::string::npos);
  EXPECT_EQ(text.substr(table), run.out) << "scripts/operators-doc writes it anew";
}

TEST(DoctorTest, SaysWhatIsOpenAndWhatWasFolded) {
  const ProgramRun open = RunShell("doctor models/bert_base.ts17.train.onnx");
  EXPECT_EQ(open.exit_code, 0) << open.err;
  EXPECT_THAT(open.out, testing::HasSubstr("weight file 'weights.bin' is not there; 202 tensors are stored in it"));
  const ProgramRun folded = RunShell("doctor models/resnet50.ts17.eval.onnx");
  EXPECT_EQ(folded.exit_code, 0) << folded.err;
  EXPECT_THAT(folded.out, testing::HasSubstr("batch normalization was folded into 53 of 53 convolutions"));
}

}  // namespace
}  // namespace reusescope::cli
