// A device from three numbers on the command line.

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwdb/hardware.h"

namespace reusescope {
namespace {

using ::testing::HasSubstr;

constexpr absl::string_view kThree = "capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s";

TEST(ThreeNumbersTest, Suffice) {
  const absl::StatusOr<Hardware> device = ParseThreeNumbers(kThree);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(device->name, "custom");
  EXPECT_EQ(device->kind, HardwareKind::kCustom);
  EXPECT_EQ(device->on_chip.capacity_bytes, 96 << 20);
  EXPECT_EQ(device->on_chip.kind, OnChipKind::kSoftwareManaged);
  EXPECT_EQ(device->memory_bandwidth_bytes_per_second, 1e12);
  EXPECT_FALSE(device->memory_capacity_bytes.has_value());
  EXPECT_EQ(AvailableMemoryBytes(*device), std::nullopt);
  EXPECT_TRUE(Validate(*device).ok()) << Validate(*device);
}

TEST(ThreeNumbersTest, TheOneThroughputServesEveryPrecision) {
  const Hardware device = *ParseThreeNumbers(kThree);
  for (const char* precision : {"fp32", "tf32", "fp16", "bf16", "fp8"}) {
    EXPECT_EQ(PeakFor(device, precision)->flops_per_second, 100e12) << precision;
    EXPECT_EQ(PeakFor(device, precision)->note, "") << precision;
  }
  EXPECT_EQ(PeakFor(device, Arithmetic::kFp16, 16)->flops_per_second, 100e12);
  EXPECT_EQ(VectorPeak(device).flops_per_second, 100e12);
  EXPECT_THAT(VectorPeak(device).note, HasSubstr("no vector throughput"));
}

TEST(ThreeNumbersTest, OptionalKeysInAnyOrderAndCase) {
  const absl::StatusOr<Hardware> device = ParseThreeNumbers(
      " name = edge box , Vector=2TFLOP/s, throughput = 100 TFLOPS, memory=24GB, bandwidth=0.5TB/s, capacity=1 MiB");
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(device->name, "edge box");
  EXPECT_EQ(device->memory_capacity_bytes, 24000000000);
  EXPECT_EQ(VectorPeak(*device).flops_per_second, 2e12);
  EXPECT_EQ(VectorPeak(*device).note, "");
  EXPECT_EQ(PeakFor(*device, "fp32")->flops_per_second, 100e12);  // products do not run on the vector units
  EXPECT_EQ(device->memory_bandwidth_bytes_per_second, 0.5e12);
}

TEST(ThreeNumbersTest, EveryNumberIsMarkedAsGiven) {
  const Hardware device =
      *ParseThreeNumbers("capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s,vector=1TFLOPS,memory=8GB");
  ASSERT_EQ(Provenance(device).size(), 5);
  for (const SourcedNumber& number : Provenance(device)) EXPECT_EQ(number.standing, Standing::kGiven) << number.label;
}

// What-if machines may be as unbalanced as one likes: the plausibility of published entries is not asked of them.
TEST(ThreeNumbersTest, UnbalancedMachinesAreFine) {
  EXPECT_TRUE(ParseThreeNumbers("capacity=1KiB,bandwidth=10TB/s,throughput=1GFLOP/s").ok());
  EXPECT_TRUE(ParseThreeNumbers("capacity=1TiB,bandwidth=1MB/s,throughput=9EFLOP/s").ok());
}

TEST(ThreeNumbersTest, BadInputSaysFoundAndExpected) {
  struct Case {
    const char *text, *message;
  };
  for (const Case& c : {
           Case{"", "found '', expected key=value, for example 'capacity=96MiB"},
           {"capacity", "found 'capacity', expected key=value"},
           {"capacity=96MiB", "found no 'bandwidth', expected capacity, bandwidth and throughput, for example"},
           {"bandwidth=1TB/s,throughput=1TFLOPS", "found no 'capacity'"},
           {"capacity=96MiB,bandwidth=1TB/s", "found no 'throughput'"},
           {"capacity=96MiB,bandwidth=1TB/s,throughput=1TFLOPS,", "found '', expected key=value"},
           {"capacity=96MiB,capacity=97MiB", "found 'capacity' twice"},
           {"cache=96MiB", "found key 'cache', expected capacity, bandwidth, throughput, vector, memory or name"},
           {"capacity=96", "found no 'bandwidth'"},
           {"capacity=96MB/s", "capacity: found '96MB/s', expected a number of bytes with its unit"},
           {"bandwidth=1TB", "bandwidth: found '1TB', expected bytes per second with their unit"},
           {"throughput=100T", "throughput: found '100T', expected FLOP per second with their unit"},
           {"vector=", "vector: found ''"},
           {"memory=lots", "memory: found 'lots'"},
           {"capacity=0,bandwidth=1TB/s,throughput=1TFLOPS", "found 0 bytes in 1 instances, expected positive"},
           {"capacity=1MiB,bandwidth=1TB/s,throughput=1TFLOPS,name=", "found no name, expected one"},
       }) {
    const absl::StatusOr<Hardware> device = ParseThreeNumbers(c.text);
    ASSERT_FALSE(device.ok()) << c.text;
    EXPECT_EQ(device.status().code(), absl::StatusCode::kInvalidArgument) << c.text;
    EXPECT_THAT(std::string(device.status().message()), HasSubstr(c.message)) << c.text;
  }
}

}  // namespace
}  // namespace reusescope
