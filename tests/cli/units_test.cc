#include "cli/units.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"
#include "hwdb/quantity.h"

namespace reusescope::cli {
namespace {

TEST(UnitsTest, CountsHaveThreeDigitsAndAnSiPrefix) {
  const std::pair<double, const char*> cases[] = {{0, "0"},
                                                  {1, "1"},
                                                  {999, "999"},
                                                  {1000, "1.00 k"},
                                                  {1023, "1.02 k"},
                                                  {9994, "9.99 k"},
                                                  {9995, "10.0 k"},
                                                  {99949, "99.9 k"},
                                                  {99950, "100 k"},
                                                  {999'499, "999 k"},
                                                  {999'500, "1.00 M"},
                                                  {25'557'032, "25.6 M"},
                                                  {4.089e9, "4.09 G"},
                                                  {9.2e18, "9.20 E"},
                                                  {2e22, "20000 E"}};
  for (const auto& [count, text] : cases) EXPECT_EQ(FormatCount(count), text) << count;
}

TEST(UnitsTest, BytesHaveAnIecPrefix) {
  const std::pair<int64_t, const char*> cases[] = {{0, "0 B"},
                                                   {1, "1 B"},
                                                   {1023, "1023 B"},
                                                   {1024, "1.00 KiB"},
                                                   {1536, "1.50 KiB"},
                                                   {1 << 20, "1.00 MiB"},
                                                   {102'228'128, "97.5 MiB"},
                                                   {int64_t{1000} << 20, "1000 MiB"},
                                                   {int64_t{40} << 30, "40.0 GiB"},
                                                   {-(int64_t{3} << 30), "-3.00 GiB"},
                                                   {std::numeric_limits<int64_t>::max(), "8.00 EiB"}};
  for (const auto& [bytes, text] : cases) EXPECT_EQ(FormatBytes(bytes), text) << bytes;
}

TEST(UnitsTest, SecondsChooseTheirUnit) {
  const std::pair<double, const char*> cases[] = {{0, "0 s"},          {3.2e-9, "3.20 ns"}, {95.1e-6, "95.1 µs"},
                                                  {0.0123, "12.3 ms"}, {0.9994, "999 ms"},  {0.9996, "1.00 s"},
                                                  {61, "61.0 s"},      {150, "2.50 min"},   {7200, "2.00 h"}};
  for (const auto& [seconds, text] : cases) EXPECT_EQ(FormatSeconds(seconds), text) << seconds;
}

TEST(UnitsTest, PercentNeverHidesWhatIsThere) {
  EXPECT_EQ(FormatPercent(0), "0.0 %");
  EXPECT_EQ(FormatPercent(0.0001), "<0.1 %");
  EXPECT_EQ(FormatPercent(0.1234), "12.3 %");
  EXPECT_EQ(FormatPercent(1), "100.0 %");
}

TEST(UnitsTest, WhatIsNoNumberIsADash) {
  const double nan = std::nan("");
  const double infinite = std::numeric_limits<double>::infinity();
  for (double value : {nan, infinite}) {
    EXPECT_EQ(FormatCount(value), "-");
    EXPECT_EQ(FormatRate(value, "B"), "-");
    EXPECT_EQ(FormatSeconds(value), "-");
    EXPECT_EQ(FormatRatio(value), "-");
    EXPECT_EQ(FormatPercent(value), "-");
  }
}

TEST(UnitsTest, ExactNumbersAreGrouped) {
  EXPECT_EQ(FormatExact(0), "0");
  EXPECT_EQ(FormatExact(999), "999");
  EXPECT_EQ(FormatExact(25'557'032), "25,557,032");
  EXPECT_EQ(FormatExact(-1000), "-1,000");
  EXPECT_EQ(FormatExact(-100), "-100");
  EXPECT_EQ(FormatPlural(1, "node"), "1 node");
  EXPECT_EQ(FormatPlural(1024, "node"), "1,024 nodes");
}

TEST(UnitsTest, RatiosKeepThreeDigits) {
  const std::pair<double, const char*> cases[] = {{0, "0"},        {0.0123, "0.012"}, {0.5, "0.500"}, {1, "1.00"},
                                                  {23.44, "23.4"}, {153, "153"},      {1234, "1,234"}};
  for (const auto& [ratio, text] : cases) EXPECT_EQ(FormatRatio(ratio), text) << ratio;
}

// What we print, hwdb/quantity.h reads back, to the three digits that were printed.
TEST(UnitsTest, PrintedQuantitiesReadBack) {
  for (int64_t bytes : {int64_t{1}, int64_t{777}, int64_t{5000}, int64_t{40} << 20, int64_t{79} << 30}) {
    const absl::StatusOr<int64_t> back = ParseBytes(FormatBytes(bytes));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_NEAR(static_cast<double>(*back), static_cast<double>(bytes), 0.006 * static_cast<double>(bytes));
  }
  for (double rate : {1.0e6, 3.2e11, 1.555e12, 3.12e14}) {
    EXPECT_NEAR(ParseBytesPerSecond(FormatRate(rate, "B")).value_or(0), rate, 0.006 * rate);
    EXPECT_NEAR(ParseFlopsPerSecond(FormatRate(rate, "FLOP")).value_or(0), rate, 0.006 * rate);
  }
}

}  // namespace
}  // namespace reusescope::cli
