// Predictions against measurements: what the program quotes of itself is what the rows say, and the plain roofline is
// no worse than the one others published for the same rows.

#include <cmath>

#include "analysis/measure/prediction_error.h"
#include "bench/accuracy/predict.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reusescope::accuracy {
namespace {

const std::vector<Prediction>& Steps() {
  static const auto* steps = new absl::StatusOr<std::vector<Prediction>>(PredictSteps(REUSESCOPE_SOURCE_DIR));
  EXPECT_TRUE(steps->ok()) << steps->status();
  return steps->value();
}

TEST(AccuracyTest, EveryMeasuredStepIsPredicted) {
  EXPECT_GE(Steps().size(), 300u);
  for (const Prediction& prediction : Steps()) {
    EXPECT_EQ(prediction.skipped, "") << prediction.row.at("export") << " " << prediction.row.at("gpu");
  }
}

void ExpectQuoted(const std::string& kind, const PredictionError& quoted) {
  const Summary summary = Summarize(GroupBy(Steps(), "kind").at(kind));
  EXPECT_EQ(summary.rows, quoted.rows) << kind;
  EXPECT_NEAR(summary.mean_error, quoted.mean_error, 0.005) << kind;
  EXPECT_NEAR(summary.low_ratio, quoted.low_ratio, 0.005) << kind;
  EXPECT_NEAR(summary.median_ratio, quoted.median_ratio, 0.005) << kind;
  EXPECT_NEAR(summary.high_ratio, quoted.high_ratio, 0.005) << kind;
}

TEST(AccuracyTest, TheErrorsThatAuditQuotesAreThoseOfTheRows) {
  ExpectQuoted("training fp32", StepTimeError(true, PrecisionMode::kFp32));
  ExpectQuoted("training tf32", StepTimeError(true, PrecisionMode::kTf32));
  ExpectQuoted("training fp16", StepTimeError(true, PrecisionMode::kAmpBf16));
  ExpectQuoted("inference fp32", StepTimeError(false, PrecisionMode::kFp32));
}

TEST(AccuracyTest, NoWorseThanTheRooflineOfOthersOnTheirRows) {
  double ours = 0, theirs = 0;
  int rows = 0;
  for (const Prediction& prediction : Steps()) {
    if (!prediction.other_roofline.has_value()) continue;
    ours += std::abs(prediction.error());
    theirs += std::abs(*prediction.other_roofline / prediction.measured - 1);
    ++rows;
  }
  EXPECT_GE(rows, 28);
  EXPECT_LE(ours / rows, theirs / rows + 0.005);
}

TEST(AccuracyTest, MemoryPeaksAreNearAndNeverTooHigh) {
  const absl::StatusOr<std::vector<Prediction>> memory = PredictMemory(REUSESCOPE_SOURCE_DIR);
  ASSERT_TRUE(memory.ok()) << memory.status();
  const Summary summary = Summarize(*memory);
  const PredictionError quoted = PeakMemoryError();
  EXPECT_EQ(summary.rows, quoted.rows);
  EXPECT_NEAR(summary.mean_error, quoted.mean_error, 0.005);
  EXPECT_GE(summary.low_ratio, 1.0);
}

}  // namespace
}  // namespace reusescope::accuracy
