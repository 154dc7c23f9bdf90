// Finding a device by the names people use, and the peak that a request gets.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwdb/hardware.h"

namespace reusescope {
namespace {

using ::testing::HasSubstr;

Hardware Find(absl::string_view name) {
  absl::StatusOr<Hardware> device = FindDevice(name);
  EXPECT_TRUE(device.ok()) << device.status();
  return device.ok() ? *std::move(device) : Hardware{};
}

TEST(FindDeviceTest, ToleratesSpellings) {
  struct Case {
    const char *spelling, *name;
  };
  for (const Case& c : {Case{"a100-sxm-80gb", "a100-sxm-80gb"},
                        {"A100 SXM 80GB", "a100-sxm-80gb"},
                        {"a100_sxm_80gb", "a100-sxm-80gb"},
                        {"a100", "a100-sxm-80gb"},
                        {"A100", "a100-sxm-80gb"},
                        {"NVIDIA A100-SXM4-80GB", "a100-sxm-80gb"},
                        {"NVIDIA A100-SXM4-40GB", "a100-sxm-40gb"},
                        {"NVIDIA A100 80GB PCIe", "a100-pcie-80gb"},
                        {"NVIDIA H100 80GB HBM3", "h100-sxm"},
                        {"h100", "h100-sxm"},
                        {"rtx4090", "rtx-4090"},
                        {"4090", "rtx-4090"},
                        {"NVIDIA GeForce RTX 4090", "rtx-4090"},
                        {"GeForce RTX 5090", "rtx-5090"},
                        {"Tesla T4", "t4"},
                        {"Tesla V100-SXM2-16GB", "v100-sxm2-16gb"},
                        {"v100", "v100-sxm2-32gb"},
                        {"AMD Instinct MI300X", "mi300x"},
                        {"TPU v5e", "tpu-v5e"},
                        {"tpuv5p", "tpu-v5p"},
                        {"Gaudi 2", "gaudi2"},
                        {"trn1", "trainium1"}}) {
    EXPECT_EQ(Find(c.spelling).name, c.name) << c.spelling;
  }
}

TEST(FindDeviceTest, AMissNamesTheNearest) {
  struct Case {
    const char *wanted, *nearest;
  };
  for (const Case& c : {Case{"h10", "h100-sxm"},
                        {"rtx 4099", "rtx-4090"},
                        {"mi30", "mi300x"},
                        {"l40", "l40s"},
                        {"tpu v5", "tpu-v5e"},
                        {"gaudi", "gaudi2"},
                        {"b20", "b200"}}) {
    const absl::StatusOr<Hardware> device = FindDevice(c.wanted);
    ASSERT_FALSE(device.ok()) << c.wanted << " found " << device->name;
    EXPECT_EQ(device.status().code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(device.status().message()), HasSubstr(std::string("found no device '") + c.wanted + "'"));
    EXPECT_THAT(std::string(device.status().message()), HasSubstr(c.nearest));
  }
}

TEST(FindDeviceTest, NonsenseIsNotFound) {
  for (const std::string& name :
       {std::string(), std::string("-"), std::string("nvidia"), std::string(100000, 'x'), std::string("\0\xff", 2)}) {
    const absl::StatusOr<Hardware> device = FindDevice(name);
    ASSERT_FALSE(device.ok()) << name << " found " << device->name;
    EXPECT_EQ(device.status().code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(device.status().message()), HasSubstr("nearest: "));
  }
}

TEST(PeakForTest, Fp32AccumulateIsTheDefault) {
  const Hardware geforce = Find("rtx-4090");
  EXPECT_EQ(PeakFor(geforce, Arithmetic::kFp16)->flops_per_second, 165.2e12);
  EXPECT_EQ(PeakFor(geforce, Arithmetic::kFp16, 16)->flops_per_second, 330.3e12);
  EXPECT_EQ(PeakFor(geforce, "fp8")->flops_per_second, 330.3e12);
  EXPECT_EQ(PeakFor(geforce, "fp8", 16)->flops_per_second, 660.6e12);
  EXPECT_EQ(PeakFor(geforce, "fp16")->note, "");
}

TEST(PeakForTest, NarrowAccumulateFallsBackAndSaysSo) {
  const absl::StatusOr<ChosenPeak> peak = PeakFor(Find("a100"), Arithmetic::kFp16, 16);
  ASSERT_TRUE(peak.ok()) << peak.status();
  EXPECT_EQ(peak->flops_per_second, 312e12);
  EXPECT_EQ(peak->accumulate_bits, 32);
  EXPECT_THAT(peak->note, HasSubstr("32 bits"));
}

TEST(PeakForTest, Fp32ProductsRunOnVectorUnits) {
  const absl::StatusOr<ChosenPeak> peak = PeakFor(Find("a100"), "fp32");
  ASSERT_TRUE(peak.ok()) << peak.status();
  EXPECT_EQ(peak->flops_per_second, 19.5e12);
  EXPECT_EQ(peak->unit, ComputeUnit::kVector);
}

TEST(PeakForTest, TheFastestUnitServes) {
  const absl::StatusOr<ChosenPeak> peak = PeakFor(Find("trainium1"), "fp32");  // 47.5 matrix, 4.6 vector
  ASSERT_TRUE(peak.ok()) << peak.status();
  EXPECT_EQ(peak->flops_per_second, 47.5e12);
  EXPECT_EQ(peak->unit, ComputeUnit::kMatrix);
}

TEST(PeakForTest, Tf32FallsBackToFp32AndSaysSo) {
  const absl::StatusOr<ChosenPeak> peak = PeakFor(Find("v100"), "tf32");
  ASSERT_TRUE(peak.ok()) << peak.status();
  EXPECT_EQ(peak->flops_per_second, 15.7e12);
  EXPECT_EQ(peak->arithmetic, Arithmetic::kFp32);
  EXPECT_THAT(peak->note, HasSubstr("no tf32 units"));
  EXPECT_EQ(PeakFor(Find("a100"), "tf32")->flops_per_second, 156e12);
  EXPECT_EQ(PeakFor(Find("a100"), "tf32")->note, "");
}

TEST(PeakForTest, WhatTheDeviceLacksIsAnErrorThatListsWhatItHas) {
  const absl::StatusOr<ChosenPeak> volta = PeakFor(Find("v100"), "bf16");
  EXPECT_EQ(volta.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(volta.status().message()), HasSubstr("v100-sxm2-32gb"));
  EXPECT_THAT(std::string(volta.status().message()), HasSubstr("it has fp64, fp32, fp16"));
  const absl::StatusOr<ChosenPeak> tpu = PeakFor(Find("tpu-v5e"), "tf32");  // nor fp32 to fall back to
  EXPECT_EQ(tpu.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(tpu.status().message()), HasSubstr("it has bf16, int8, int4"));
  EXPECT_FALSE(PeakFor(Find("a100"), "fp8").ok());
  EXPECT_FALSE(PeakFor(Find("a100"), Arithmetic::kFp32, 64).ok());
}

TEST(PeakForTest, UnknownArithmeticListsTheNames) {
  const absl::StatusOr<ChosenPeak> peak = PeakFor(Find("a100"), "fp12");
  EXPECT_EQ(peak.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(peak.status().message()), HasSubstr("fp64, fp32, tf32, fp16, bf16"));
}

TEST(ArithmeticTest, NamesRoundTrip) {
  for (const Arithmetic arithmetic :
       {Arithmetic::kFp64, Arithmetic::kFp32, Arithmetic::kTf32, Arithmetic::kFp16, Arithmetic::kBf16, Arithmetic::kFp8,
        Arithmetic::kFp6, Arithmetic::kFp4, Arithmetic::kInt8, Arithmetic::kInt4}) {
    EXPECT_EQ(*ArithmeticFromName(ArithmeticName(arithmetic)), arithmetic);
  }
  EXPECT_EQ(*ArithmeticFromName("BFloat16"), Arithmetic::kBf16);
  EXPECT_EQ(*ArithmeticFromName("half"), Arithmetic::kFp16);
  EXPECT_FALSE(ArithmeticFromName("").ok());
  EXPECT_FALSE(ArithmeticFromName("any").ok());
}

TEST(VectorPeakTest, IsTheVectorUnitsNotTheMatrixUnits) {
  EXPECT_EQ(VectorPeak(Find("a100")).flops_per_second, 19.5e12);
  EXPECT_EQ(VectorPeak(Find("v100")).flops_per_second, 15.7e12);  // not the fp64 row, which comes first
  EXPECT_EQ(VectorPeak(Find("trainium2")).flops_per_second, 8e12);
  EXPECT_EQ(VectorPeak(Find("h100")).note, "");
}

TEST(VectorPeakTest, WithoutOneTheMatrixPeakServesAndSaysSo) {
  const ChosenPeak peak = VectorPeak(Find("tpu-v5e"));
  EXPECT_EQ(peak.flops_per_second, 197e12);  // not int8
  EXPECT_THAT(peak.note, HasSubstr("bf16 matrix peak serves"));
}

TEST(AchievableFractionTest, IsTheMeasuredOne) {
  EXPECT_EQ(AchievableFraction(Find("a100"), Arithmetic::kBf16), 0.869);
  EXPECT_EQ(AchievableFraction(Find("h100"), Arithmetic::kFp8), 0.709);
  EXPECT_EQ(AchievableFraction(Find("a100"), Arithmetic::kFp16), 0.869);           // the same units at the same rate
  EXPECT_EQ(AchievableFraction(Find("gaudi3"), Arithmetic::kFp16), std::nullopt);  // at another rate
  EXPECT_EQ(AchievableFraction(Find("a100"), Arithmetic::kFp32), std::nullopt);
  EXPECT_EQ(AchievableFraction(Find("t4"), Arithmetic::kFp16), std::nullopt);
}

// Where the source measured against another figure than ours, the fraction is of ours.
TEST(AchievableFractionTest, IsAShareOfThePeakInTheEntry) {
  struct Case {
    const char* name;
    double measured_flops_per_second;
  };
  for (const Case& c : {Case{"mi300x", 668.4e12},
                        {"mi325x", 784.9e12},
                        {"mi355x", 1565e12},
                        {"gaudi3", 1243e12},
                        {"a100", 271.2e12},
                        {"h100", 794.5e12},
                        {"b200", 1745e12}}) {
    const Hardware device = Find(c.name);
    const double peak = PeakFor(device, "bf16")->flops_per_second;
    EXPECT_NEAR(*AchievableFraction(device, Arithmetic::kBf16), c.measured_flops_per_second / peak, 0.001) << c.name;
  }
}

TEST(AvailableMemoryTest, PrefersWhatTheDeviceReports) {
  EXPECT_EQ(AvailableMemoryBytes(Find("a100")), 85100068864);
  EXPECT_EQ(AvailableMemoryBytes(Find("gaudi2")), 96000000000);
  EXPECT_EQ(AvailableMemoryBytes(Hardware{}), std::nullopt);
}

}  // namespace
}  // namespace reusescope
