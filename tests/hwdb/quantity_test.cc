// Numbers with units: what is read, and what is refused with an example of the right form.

#include "hwdb/quantity.h"

#include <cstdint>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reusescope {
namespace {

using ::testing::HasSubstr;

TEST(ParseBytesTest, ReadsIecAndSi) {
  struct Case {
    const char* text;
    int64_t bytes;
  };
  const Case kCases[] = {
      {"96MiB", int64_t{96} << 20},
      {"96 MiB", int64_t{96} << 20},
      {"96mib", int64_t{96} << 20},
      {"80GB", int64_t{80} * 1000 * 1000 * 1000},
      {"80gb", int64_t{80} * 1000 * 1000 * 1000},
      {"1kB", 1000},
      {"1KiB", 1024},
      {"1.5GiB", (int64_t{3} << 30) / 2},
      {".5 KiB", 512},
      {"1e3kB", 1000 * 1000},
      {"2TiB", int64_t{2} << 40},
      {"1PB", int64_t{1000} * 1000 * 1000 * 1000 * 1000},
      {"7EiB", int64_t{7} << 60},
      {"12B", 12},
      {"12 bytes", 12},
      {"4096", 4096},
      {"0", 0},
      {"  16KiB ", 16 * 1024},
      {"0.1kB", 100},
      {"1.0004kB", 1000},  // rounded to whole bytes
  };
  for (const Case& c : kCases) {
    const absl::StatusOr<int64_t> bytes = ParseBytes(c.text);
    ASSERT_TRUE(bytes.ok()) << c.text << ": " << bytes.status();
    EXPECT_EQ(*bytes, c.bytes) << c.text;
  }
}

TEST(ParseBytesTest, RefusesTheRest) {
  for (const char* text : {"",        " ",      "MiB",  "x",       "96MB/s", "96 Mi",  "96QB",   "-1MiB", "+1MiB",
                           "1..5MiB", "1,5MiB", "1.5",  "96  MiB", "96iB",   "96MMB",  "1e",     "nan",   "inf",
                           "infB",    "0x10B",  "8EiB", "1e30B",   "1e400B", "96MiB!", "1 2 MiB"}) {
    const absl::StatusOr<int64_t> bytes = ParseBytes(text);
    ASSERT_FALSE(bytes.ok()) << text << " read as " << *bytes;
    EXPECT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(bytes.status().message()), HasSubstr("expected")) << text;
    EXPECT_THAT(std::string(bytes.status().message()), HasSubstr(std::string("found '") + text + "'")) << text;
  }
}

TEST(ParseBytesTest, LargestCapacityIsJustBelowTwoToThe63) {
  EXPECT_EQ(*ParseBytes("9223372036854774784"), 9223372036854774784);  // the largest double below 2^63
  EXPECT_FALSE(ParseBytes("9223372036854775808").ok());
}

TEST(ParseRateTest, ReadsRates) {
  struct Case {
    const char* text;
    double value;
  };
  for (const Case& c : {Case{"1TB/s", 1e12},
                        {"1.5 GB/s", 1.5e9},
                        {"900GBps", 900e9},
                        {"3.35TB/S", 3.35e12},
                        {"1GiB/s", 1073741824.0},
                        {"12B/s", 12},
                        {"1e12B/s", 1e12},
                        {"800 MB/s", 800e6}}) {
    const absl::StatusOr<double> rate = ParseBytesPerSecond(c.text);
    ASSERT_TRUE(rate.ok()) << c.text << ": " << rate.status();
    EXPECT_DOUBLE_EQ(*rate, c.value) << c.text;
  }
  for (const Case& c : {Case{"100TFLOP/s", 100e12},
                        {"312 TFLOPS", 312e12},
                        {"130TOPS", 130e12},
                        {"1e14FLOP/s", 1e14},
                        {"1PFLOP/s", 1e15},
                        {"2.5 pflops", 2.5e15},
                        {"7GFLOPS/s", 7e9},
                        {"5 TOP/s", 5e12}}) {
    const absl::StatusOr<double> rate = ParseFlopsPerSecond(c.text);
    ASSERT_TRUE(rate.ok()) << c.text << ": " << rate.status();
    EXPECT_DOUBLE_EQ(*rate, c.value) << c.text;
  }
}

TEST(ParseRateTest, RefusesTheRest) {
  for (const char* text : {"", "1", "1TB", "1T", "/s", "0GB/s", "-1GB/s", "1GB/h", "1TFLOP/s", "1e999TB/s", "1GB//s"}) {
    const absl::StatusOr<double> rate = ParseBytesPerSecond(text);
    ASSERT_FALSE(rate.ok()) << text << " read as " << *rate;
    EXPECT_EQ(rate.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(rate.status().message()), HasSubstr("for example '1.5 GB/s'")) << text;
  }
  for (const char* text : {"", "100", "100T", "100TFLOP", "100TB/s", "0TFLOP/s", "-5TFLOPS", "1e999FLOP/s"}) {
    const absl::StatusOr<double> rate = ParseFlopsPerSecond(text);
    ASSERT_FALSE(rate.ok()) << text << " read as " << *rate;
    EXPECT_EQ(rate.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(rate.status().message()), HasSubstr("for example '100TFLOP/s'")) << text;
  }
}

// Network bandwidths are given in bits: reading "400Gb/s" as bytes would be eight times too fast.
TEST(ParseRateTest, BitsAreNotBytes) {
  for (const char* text : {"400Gb/s", "400Gbps", "400 gb/s"}) {
    const absl::StatusOr<double> rate = ParseBytesPerSecond(text);
    ASSERT_FALSE(rate.ok()) << text;
    EXPECT_THAT(std::string(rate.status().message()), HasSubstr("bits")) << text;
  }
}

}  // namespace
}  // namespace reusescope
