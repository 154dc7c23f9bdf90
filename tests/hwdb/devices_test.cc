// The shipped entries: every one keeps the rules, has its sources, and does not repeat the errors of other tables.

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwdb/hardware.h"

namespace reusescope {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::Not;

const std::vector<Hardware>& Devices() {
  static const auto& devices = *new absl::StatusOr<std::vector<Hardware>>(AllDevices());
  EXPECT_TRUE(devices.ok()) << devices.status();
  static const auto& none = *new std::vector<Hardware>;
  return devices.ok() ? *devices : none;
}

const Hardware& Device(absl::string_view name) {
  for (const Hardware& device : Devices()) {
    if (device.name == name) return device;
  }
  ADD_FAILURE() << "no device " << name;
  static const auto& none = *new Hardware;
  return none;
}

double Row(const Hardware& device, Arithmetic arithmetic, int accumulate_bits, ComputeUnit unit) {
  for (const Peak& peak : device.peaks) {
    if (peak.arithmetic == arithmetic && peak.accumulate_bits == accumulate_bits && peak.unit == unit) {
      return peak.flops_per_second;
    }
  }
  return 0;
}

double Matrix(const Hardware& device, Arithmetic arithmetic) {
  return Row(device, arithmetic, 32, ComputeUnit::kMatrix);
}

bool Waives(const Hardware& device, absl::string_view rule) {
  return std::any_of(device.waivers.begin(), device.waivers.end(),
                     [rule](const auto& waiver) { return waiver.first == rule; });
}

TEST(DevicesTest, ShipsTheOnesPeopleTrainOn) {
  for (const char* name : {"v100-sxm2-16gb", "v100-sxm2-32gb", "t4",       "a100-sxm-40gb",
                           "a100-sxm-80gb",  "a100-pcie-80gb", "a10",      "l4",
                           "l40s",           "rtx-4090",       "rtx-5090", "h100-sxm",
                           "h100-pcie",      "h200",           "b200",     "mi250x",
                           "mi300x",         "mi325x",         "mi355x",   "tpu-v4",
                           "tpu-v5e",        "tpu-v5p",        "tpu-v6e",  "gaudi2",
                           "gaudi3",         "trainium1",      "trainium2"}) {
    EXPECT_EQ(Device(name).name, name);
  }
}

TEST(DevicesTest, ShipsAtLeastForty) { EXPECT_GE(Devices().size(), 40u); }

TEST(DevicesTest, EveryEntryValidates) {
  for (const Hardware& device : Devices()) EXPECT_TRUE(Validate(device).ok()) << Validate(device);
}

TEST(DevicesTest, NamesListIsThatOfTheEntries) {
  std::vector<std::string> names;
  for (const Hardware& device : Devices()) names.push_back(device.name);
  EXPECT_EQ(DeviceNames(), names);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

TEST(DevicesTest, NamesAndAliasesAreUnique) {
  std::map<std::string, std::string> owner;
  for (const Hardware& device : Devices()) {
    std::set<std::string> names(device.aliases.begin(), device.aliases.end());
    EXPECT_EQ(names.size(), device.aliases.size()) << device.name << " repeats an alias";
    names.insert(device.name);
    names.insert(device.display_name);
    for (const std::string& name : names) {
      const auto [previous, is_new] = owner.emplace(name, device.name);
      EXPECT_TRUE(is_new) << name << " names both " << previous->second << " and " << device.name;
    }
  }
}

TEST(DevicesTest, EveryNameFindsItsDevice) {
  for (const Hardware& device : Devices()) {
    std::vector<std::string> names = device.aliases;
    names.push_back(device.name);
    names.push_back(device.display_name);
    for (const std::string& name : names) {
      const absl::StatusOr<Hardware> found = FindDevice(name);
      ASSERT_TRUE(found.ok()) << name << ": " << found.status();
      EXPECT_EQ(found->name, device.name) << name;
    }
  }
}

TEST(DevicesTest, DenseIsAtMostSparse) {
  int with_sparse = 0;
  for (const Hardware& device : Devices()) {
    for (const Peak& peak : device.peaks) {
      if (!peak.sparse_flops_per_second) continue;
      ++with_sparse;
      EXPECT_LE(peak.flops_per_second, *peak.sparse_flops_per_second) << device.name;
    }
  }
  EXPECT_GE(with_sparse, 20);
}

// NVIDIA's structured sparsity is 2:4. A sparse row that is not twice the dense one was halved once too often or never.
TEST(DevicesTest, SparseIsTwiceDenseOnNvidia) {
  for (const Hardware& device : Devices()) {
    if (device.vendor != "NVIDIA") continue;
    for (const Peak& peak : device.peaks) {
      if (!peak.sparse_flops_per_second) continue;
      EXPECT_NEAR(*peak.sparse_flops_per_second / peak.flops_per_second, 2, 0.03)
          << device.name << " " << ArithmeticName(peak.arithmetic);
    }
  }
}

TEST(DevicesTest, Fp16EqualsBf16UnlessWaived) {
  for (const Hardware& device : Devices()) {
    const double fp16 = Matrix(device, Arithmetic::kFp16), bf16 = Matrix(device, Arithmetic::kBf16);
    if (fp16 == 0 || bf16 == 0) continue;
    EXPECT_EQ(fp16 != bf16, Waives(device, "fp16_equals_bf16")) << device.name;
  }
}

TEST(DevicesTest, Fp8IsTwiceFp16UnlessWaived) {
  for (const Hardware& device : Devices()) {
    const double wide = std::max(Matrix(device, Arithmetic::kFp16), Matrix(device, Arithmetic::kBf16));
    const double fp8 = Matrix(device, Arithmetic::kFp8);
    if (fp8 == 0) continue;
    EXPECT_EQ(std::abs(fp8 / wide - 2) > 0.06, Waives(device, "fp8_twice_fp16")) << device.name << " " << fp8 / wide;
  }
}

TEST(DevicesTest, NarrowerArithmeticIsNotSlower) {
  const Arithmetic kOrder[] = {Arithmetic::kFp32, Arithmetic::kTf32, Arithmetic::kBf16, Arithmetic::kFp8};
  for (const Hardware& device : Devices()) {
    double previous = 0;
    for (const Arithmetic arithmetic : kOrder) {
      const double peak = std::max(Matrix(device, arithmetic), Row(device, arithmetic, 32, ComputeUnit::kVector));
      if (peak == 0) continue;
      EXPECT_GE(peak, previous) << device.name << " " << ArithmeticName(arithmetic);
      previous = peak;
    }
  }
}

TEST(DevicesTest, RidgePointIsPlausible) {
  for (const Hardware& device : Devices()) {
    const double peak = std::max(Matrix(device, Arithmetic::kFp16), Matrix(device, Arithmetic::kBf16));
    const double ridge_flops_per_byte = peak / device.memory_bandwidth_bytes_per_second;
    if (peak == 0) {  // older than matrix units: fp32 on the vector units
      const double fp32 = Row(device, Arithmetic::kFp32, 32, ComputeUnit::kVector);
      const double ridge = fp32 / device.memory_bandwidth_bytes_per_second;
      EXPECT_THAT(ridge, AnyOf(0, AllOf(Ge(10), Le(60)))) << device.name;
      continue;
    }
    EXPECT_GE(ridge_flops_per_byte, 20) << device.name;
    EXPECT_LE(ridge_flops_per_byte, 3000) << device.name;
  }
}

TEST(DevicesTest, MemoryHierarchyIsOrdered) {
  for (const Hardware& device : Devices()) {
    // A processor's memory is the machine's; of the first TPU's and WaveCore's no source was read.
    const bool no_memory =
        device.kind == HardwareKind::kCpu || device.name == "tpu-v1" || absl::StartsWith(device.name, "wavecore");
    ASSERT_EQ(device.memory_capacity_bytes.has_value(), !no_memory) << device.name;
    EXPECT_GT(device.memory_capacity_bytes.value_or(INT64_MAX), 20 * device.on_chip.capacity_bytes) << device.name;
    for (const OnChipMemory& level : device.inner_levels) {
      EXPECT_LT(level.capacity_bytes, device.on_chip.capacity_bytes) << device.name << " " << level.name;
      EXPECT_EQ(level.capacity_bytes % level.instances, 0) << device.name << " " << level.name;
    }
    EXPECT_EQ(device.on_chip.capacity_bytes % device.on_chip.instances, 0) << device.name;
    EXPECT_EQ(device.on_chip.capacity_bytes % 1024, 0) << device.name << ": on-chip memories are binary";
  }
}

// How many numbers an entry has, counted from the struct: each must be in the provenance.
size_t CountNumbers(const Hardware& device) {
  size_t count = 2 + device.inner_levels.size() + device.peaks.size() + device.achievable.size();  // 2: bandwidth, L2
  for (const Peak& peak : device.peaks) count += peak.sparse_flops_per_second.has_value();
  return count + device.memory_capacity_bytes.has_value() + device.usable_memory_bytes.has_value() +
         device.power_watts.has_value() + device.link.has_value() + device.price_usd.has_value() +
         device.achievable_bandwidth_fraction.has_value() + !device.announced.empty();
}

TEST(DevicesTest, EveryNumberHasSourceAndDate) {
  for (const Hardware& device : Devices()) {
    EXPECT_EQ(Provenance(device).size(), CountNumbers(device)) << device.name;
    std::set<std::string> labels;
    for (const SourcedNumber& number : Provenance(device)) {
      SCOPED_TRACE(device.name + ": " + number.label);
      EXPECT_TRUE(labels.insert(number.label).second) << "two numbers of one label";
      EXPECT_THAT(number.source, ::testing::ContainsRegex("https?://"));
      EXPECT_THAT(number.retrieved, ::testing::MatchesRegex("202[0-9]-[01][0-9](-[0-3][0-9])?"));
      EXPECT_THAT(number.unit, Not(IsEmpty()));
      EXPECT_GT(number.value, 0);
      EXPECT_NE(number.standing, Standing::kGiven);
      EXPECT_TRUE(number.standing == Standing::kCited || !number.note.empty()) << "derived without a formula";
    }
  }
}

TEST(DevicesTest, ProvenanceShowsTheNumbersThatAreUsed) {
  for (const Hardware& device : Devices()) {
    std::map<std::string, double> shown;
    for (const SourcedNumber& number : Provenance(device)) shown[number.label] = number.value;
    EXPECT_EQ(shown["memory bandwidth"], device.memory_bandwidth_bytes_per_second) << device.name;
    EXPECT_EQ(shown["on-chip " + device.on_chip.name], static_cast<double>(device.on_chip.capacity_bytes));
    for (const Peak& peak : device.peaks) {
      const std::string unit = peak.unit == ComputeUnit::kVector ? "vector" : "matrix";
      const std::string label = "peak " + std::string(ArithmeticName(peak.arithmetic)) + " (" + unit + ", " +
                                std::to_string(peak.accumulate_bits) + "-bit accumulate)";
      EXPECT_EQ(shown[label], peak.flops_per_second) << device.name << " " << label;
    }
  }
}

// Figures checked against the vendors' own: the entries that reports are most often made for.
TEST(DevicesTest, WellKnownFigures) {
  struct Case {
    const char* name;
    double bf16_flops_per_second, bandwidth_bytes_per_second;
    int64_t on_chip_bytes;
  };
  constexpr int64_t kMiB = 1 << 20;
  for (const Case& c : {Case{"a100-sxm-80gb", 312e12, 2039e9, 40 * kMiB},
                        {"a100-sxm-40gb", 312e12, 1555e9, 40 * kMiB},
                        {"h100-sxm", 989e12, 3350e9, 50 * kMiB},
                        {"h200", 989e12, 4800e9, 50 * kMiB},
                        {"l4", 121e12, 300e9, 48 * kMiB},
                        {"rtx-4090", 165.2e12, 1008e9, 72 * kMiB},
                        {"rtx-5090", 209.5e12, 1792e9, 96 * kMiB},
                        {"mi300x", 1307.4e12, 5300e9, 256 * kMiB},
                        {"tpu-v5e", 197e12, 819e9, 128 * kMiB},
                        {"tpu-v5p", 459e12, 2765e9, 128 * kMiB},
                        {"gaudi2", 432e12, 2460e9, 48 * kMiB}}) {
    const Hardware& device = Device(c.name);
    EXPECT_EQ(Matrix(device, Arithmetic::kBf16), c.bf16_flops_per_second) << c.name;
    EXPECT_EQ(device.memory_bandwidth_bytes_per_second, c.bandwidth_bytes_per_second) << c.name;
    EXPECT_EQ(device.on_chip.capacity_bytes, c.on_chip_bytes) << c.name;
  }
}

// Errors found in other tables, each of which was copied from place to place.
TEST(DevicesTest, KnownErrorsOfOtherTablesAreAbsent) {
  struct Wrong {
    const char* name;
    Arithmetic arithmetic;
    double flops_per_second;
  };
  for (const Wrong& wrong : {Wrong{"h100-sxm", Arithmetic::kBf16, 1979e12},  // counts sparsity
                             {"h100-sxm", Arithmetic::kTf32, 156e12},        // the A100's
                             {"h100-sxm", Arithmetic::kFp8, 3958e12},        // counts sparsity
                             {"h100-pcie", Arithmetic::kFp16, 1600e12},      // neither
                             {"h100-pcie", Arithmetic::kInt8, 3200e12},
                             {"l4", Arithmetic::kBf16, 242e12},              // counts sparsity
                             {"l4", Arithmetic::kFp8, 485e12},               // counts sparsity
                             {"a100-sxm-80gb", Arithmetic::kFp16, 3120e12},  // ten times
                             {"gaudi3", Arithmetic::kBf16, 1835e12},         // at a clock that was not shipped
                             {"gb200", Arithmetic::kBf16, 5000e12},          // two GPUs
                             {"rtx-4090", Arithmetic::kFp16, 330.3e12},      // accumulates in fp16
                             {"rtx-5090", Arithmetic::kFp16, 838e12},        // accumulates in fp16, and sparse
                             {"tpu-v6e", Arithmetic::kBf16, 230e12},
                             {"trainium2", Arithmetic::kBf16, 420e12}}) {
    const absl::StatusOr<ChosenPeak> peak = PeakFor(Device(wrong.name), wrong.arithmetic);
    ASSERT_TRUE(peak.ok()) << peak.status();
    EXPECT_NE(peak->flops_per_second, wrong.flops_per_second) << wrong.name;
  }
  EXPECT_NE(Device("l4").memory_bandwidth_bytes_per_second, 3350e9);             // the H100's
  EXPECT_NE(Device("a100-sxm-40gb").memory_bandwidth_bytes_per_second, 1935e9);  // the 80 GB card's
  EXPECT_NE(Device("h100-sxm").memory_bandwidth_bytes_per_second, 3072e9);
  EXPECT_NE(Device("h100-sxm").memory_bandwidth_bytes_per_second, 2090e9);
  EXPECT_NE(*Device("b200").memory_capacity_bytes, 192000000000);
  EXPECT_NE(Device("mi300x").on_chip.capacity_bytes, 4 << 20);  // one die's L2, which ROCm reports for the device
}

}  // namespace
}  // namespace reusescope
