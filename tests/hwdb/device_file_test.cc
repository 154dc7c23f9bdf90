// Entries read from a file: the form, each rule of Validate by name, and garbage.

#include <cstdint>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwdb/embedded_devices.h"
#include "hwdb/hardware.h"

namespace reusescope {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr absl::string_view kEntry = R"(
name: "toy"
display_name: "Toy 1"
vendor: "Acme"
kind: ACADEMIC
announced { date: "2020-11" origin { source: "page" standing: CITED } }
peak {
  arithmetic: FP16 accumulate_bits: 32 unit: MATRIX flops_per_second: 100e12 sparse_flops_per_second: 200e12
  origin { source: "page" standing: CITED }
}
peak {
  arithmetic: FP8 accumulate_bits: 32 unit: MATRIX flops_per_second: 2e14
  origin { source: "page" standing: DERIVED note: "2 * 100e12" }
}
memory_bandwidth { bytes_per_second: 1e12 origin { source: "page" standing: CITED } }
memory_capacity { capacity_bytes: 8000000000 origin { source: "page" standing: CITED } }
usable_memory { capacity_bytes: 8100000000 origin { source: "page" standing: CITED } }
on_chip { name: "L2" capacity_bytes: 1048576 kind: CACHE instances: 1 origin { source: "page" standing: CITED } }
power { watts: 10 origin { source: "page" standing: CITED } }
link { name: "wire" bytes_per_second: 1e9 direction: ONE_DIRECTION origin { source: "page" standing: CITED } }
achievable { arithmetic: FP16 fraction_of_peak: 0.5 origin { source: "page" standing: CITED } }
achievable_bandwidth { fraction_of_peak: 0.75 origin { source: "page" standing: CITED } }
price { usd: 5 origin { source: "page" standing: CITED } }
source { key: "page" title: "Toy sheet" url: "https://example.com/toy" retrieved: "2026-11-21" }
)";

std::string Changed(absl::string_view from, absl::string_view to) {
  EXPECT_TRUE(absl::StrContains(kEntry, from)) << from;
  return absl::StrReplaceAll(kEntry, {{from, to}});
}

TEST(DeviceFileTest, IsReadWhole) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/toy.textproto");
  std::ofstream(path) << kEntry;
  const absl::StatusOr<Hardware> device = LoadDeviceFile(path);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(device->name, "toy");
  EXPECT_EQ(device->kind, HardwareKind::kAcademic);
  EXPECT_EQ(device->announced, "2020-11");
  EXPECT_EQ(device->memory_bandwidth_bytes_per_second, 1e12);
  EXPECT_EQ(device->usable_memory_bytes, 8100000000);
  EXPECT_EQ(device->power_watts, 10);
  EXPECT_FALSE(device->link->both_directions_added);
  EXPECT_EQ(device->achievable_bandwidth_fraction, 0.75);
  EXPECT_EQ(device->price_usd, 5);
  ASSERT_EQ(device->provenance.size(), 13);
  EXPECT_EQ(device->provenance[0].label, "announced 2020-11");
  EXPECT_EQ(device->provenance[0].value, 2020);
  EXPECT_EQ(device->provenance[1].source, "Toy sheet, https://example.com/toy");
  EXPECT_EQ(device->provenance[1].retrieved, "2026-11-21");
  EXPECT_EQ(device->provenance[3].standing, Standing::kDerived);
  EXPECT_EQ(device->provenance[3].note, "2 * 100e12");
}

TEST(DeviceFileTest, AMissingFileIsNotFound) {
  const absl::StatusOr<Hardware> device = LoadDeviceFile(absl::StrCat(::testing::TempDir(), "/no/such.textproto"));
  EXPECT_EQ(device.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(device.status().message()), HasSubstr("such.textproto"));
  EXPECT_FALSE(LoadDeviceFile(::testing::TempDir()).ok());  // a folder
}

TEST(DeviceFileTest, AHugeFileIsRefused) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/huge.textproto");
  std::ofstream(path) << std::string((1 << 20) + 100, '#');
  const absl::StatusOr<Hardware> device = LoadDeviceFile(path);
  EXPECT_EQ(device.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(device.status().message()), HasSubstr("expected at most 1048576"));
}

TEST(DeviceFileTest, SyntaxErrorsHaveFileLineAndColumn) {
  const absl::StatusOr<Hardware> device = ParseDevice("name: \"toy\"\nbandwith: 3\n", "toy.textproto");
  EXPECT_EQ(device.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(device.status().message()), StartsWith("toy.textproto:2:"));
  EXPECT_THAT(std::string(device.status().message()), HasSubstr("bandwith"));
}

TEST(DeviceFileTest, EachRuleRefusesItsCounterexample) {
  struct Case {
    absl::string_view from, to, message;
  };
  const std::vector<Case> kCases = {
      {"name: \"toy\"", "", "found no name"},
      {"name: \"toy\"", "name: \"Toy 1\"", "expected lower-case letters, digits and dashes"},
      {"vendor: \"Acme\"", "", "found no vendor"},
      {"display_name: \"Toy 1\"", "", "found no display name"},
      {"kind: ACADEMIC", "", "found no kind, expected GPU"},
      {"kind: ACADEMIC", "kind: 77", "found no kind, expected GPU"},
      {"2020-11\"", "in 2020\"", "announcement date 'in 2020', expected YYYY"},
      {"unit: MATRIX", "", "peak fp16: found no unit, expected MATRIX or VECTOR"},
      {"arithmetic: FP8 ", "", "found a number without its arithmetic"},
      {"arithmetic: FP8 ", "arithmetic: 99 ", "found a number without its arithmetic"},
      {"arithmetic: FP8 ", "arithmetic: FP16 ", "peak fp16: found two rows of one unit and accumulator"},
      {"flops_per_second: 2e14\n", "flops_per_second: -1\n", "found -1 FLOP/s, expected a positive number"},
      {"flops_per_second: 2e14\n", "flops_per_second: nan\n", "found nan FLOP/s, expected a positive number"},
      {"flops_per_second: 2e14\n", "flops_per_second: inf\n", "found inf FLOP/s, expected a positive number"},
      {"accumulate_bits: 32", "accumulate_bits: 31", "found a 31-bit accumulator, expected 16, 32 or 64"},
      {"sparse_flops_per_second: 200e12", "sparse_flops_per_second: 50e12", "expected dense <= sparse"},
      {"sparse_flops_per_second: 200e12", "sparse_flops_per_second: nan", "expected dense <= sparse"},
      {"sparse_flops_per_second: 200e12", "sparse_flops_per_second: inf", "expected dense <= sparse"},
      {"flops_per_second: 2e14\n", "flops_per_second: 150e12\n", "fp8_twice_fp16: found fp8 1.5e+14"},
      {"arithmetic: FP8 ", "arithmetic: BF16 ", "fp16_equals_bf16: found fp16 1e+14 and bf16 2e+14"},
      {"bytes_per_second: 1e12", "bytes_per_second: 1e14", "ridge_point: found a ridge point of 1 FLOP/B"},
      {"bytes_per_second: 1e12", "bytes_per_second: 1e10", "ridge_point: found a ridge point of 10000 FLOP/B"},
      {"bytes_per_second: 1e12", "bytes_per_second: 0", "found memory bandwidth 0, expected a positive number"},
      {"capacity_bytes: 8100000000", "capacity_bytes: 80000", "usable_memory: found usable memory of 1e-05 times"},
      {"capacity_bytes: 8000000000", "capacity_bytes: -5", "found memory capacity -5, expected a positive number"},
      {"capacity_bytes: 1048576", "capacity_bytes: 0", "on-chip memory 'L2': found 0 bytes"},
      {"instances: 1", "instances: 0", "in 0 instances, expected positive numbers"},
      {"name: \"L2\"", "", "found an on-chip memory without a name"},
      {"kind: CACHE", "", "on-chip memory 'L2': found no kind, expected CACHE or SOFTWARE_MANAGED"},
      {"watts: 10", "watts: 0", "found power 0, expected a positive number"},
      {"direction: ONE_DIRECTION", "", "link: found no direction"},
      {"bytes_per_second: 1e9", "bytes_per_second: -1e9", "found link bandwidth -1e+09"},
      {"usd: 5", "usd: -5", "found price -5"},
      {"fraction_of_peak: 0.5", "fraction_of_peak: 1.5", "achievable fraction of fp16 1.5, expected within (0, 1]"},
      {"fraction_of_peak: 0.75", "fraction_of_peak: 75", "achievable fraction of the bandwidth 75"},
      {"memory_bandwidth {", "# {", "expected"},
      {"retrieved: \"2026-11-21\"", "", "found retrieval date '', expected YYYY-MM-DD"},
      {"retrieved: \"2026-11-21\"", "retrieved: \"2026\"", "found retrieval date '2026'"},
      {"key: \"page\"", "key: \"book\"", "found source 'page', expected the key of a source of this file"},
      {"note: \"2 * 100e12\"", "", "found a derived number without a note, expected its formula"},
      {"standing: DERIVED note: \"2 * 100e12\"", "standing: UNVERIFIED",
       "found an unverified number without a note, expected what was heard"},
      {"standing: DERIVED", "", "found no standing, expected CITED, DERIVED or UNVERIFIED"},
      {"source: \"page\" standing: DERIVED", "standing: DERIVED", "found no source, expected at least one"},
  };
  for (const Case& c : kCases) {
    const absl::StatusOr<Hardware> device = ParseDevice(Changed(c.from, c.to), "toy.textproto");
    ASSERT_FALSE(device.ok()) << c.from << " -> " << c.to;
    EXPECT_EQ(device.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(device.status().message()), StartsWith("toy.textproto:"));
    EXPECT_THAT(std::string(device.status().message()), HasSubstr(std::string(c.message)));
  }
}

TEST(DeviceFileTest, MissingPartsAreNamed) {
  const auto message = [](absl::string_view text) {
    return std::string(ParseDevice(text, "toy.textproto").status().message());
  };
  EXPECT_THAT(message("kind: GPU"), HasSubstr("found no memory_bandwidth"));
  EXPECT_THAT(message("kind: GPU memory_bandwidth { bytes_per_second: 1 }"), HasSubstr("found no on_chip memory"));
  EXPECT_FALSE(ParseDevice("", "toy.textproto").ok());
  EXPECT_EQ(Validate(Hardware{.name = "x", .display_name = "X", .vendor = "v"}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(DeviceFileTest, AUsedSourceTwiceOrAnUnusedOneIsAnError) {
  constexpr absl::string_view kMore = "source { key: \"%\" title: \"t\" url: \"u\" retrieved: \"2026-11-21\" }\n";
  const auto with = [&](absl::string_view key) {
    return ParseDevice(absl::StrCat(kEntry, absl::StrReplaceAll(kMore, {{"%", key}})), "toy.textproto").status();
  };
  EXPECT_THAT(std::string(with("page").message()), HasSubstr("found source key 'page' twice"));
  EXPECT_THAT(std::string(with("other").message()), HasSubstr("found source 'other', which no number uses"));
}

TEST(DeviceFileTest, WaiversHoldOnlyWhereTheyAreNeeded) {
  const std::string broken = Changed("flops_per_second: 2e14\n", "flops_per_second: 150e12\n");
  const auto status = [](absl::string_view text, absl::string_view waiver) {
    return ParseDevice(absl::StrCat(text, waiver), "toy.textproto").status();
  };
  constexpr absl::string_view kWaiver = "waiver { rule: \"fp8_twice_fp16\" reason: \"one FP8 unit is missing\" }\n";
  EXPECT_FALSE(status(broken, "").ok());
  EXPECT_TRUE(status(broken, kWaiver).ok()) << status(broken, kWaiver);
  EXPECT_THAT(std::string(status(kEntry, kWaiver).message()), HasSubstr("expected none: the entry obeys it"));
  EXPECT_THAT(std::string(status(broken, "waiver { rule: \"fp8_twice_fp16\" }").message()),
              HasSubstr("found no reason for the waiver"));
  EXPECT_THAT(std::string(status(kEntry, "waiver { rule: \"gravity\" reason: \"r\" }").message()),
              HasSubstr("found a waiver of 'gravity', expected the name of a rule"));
}

// Small, fast and the same everywhere.
class Random {
 public:
  uint32_t Next(uint32_t bound) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 33) % bound;
  }

 private:
  uint64_t state_ = 42;
};

// Whatever the bytes, the answer is a Status; what is accepted is valid.
void ExpectStatusOrValid(absl::string_view text) {
  const absl::StatusOr<Hardware> device = ParseDevice(text, "fuzz.textproto");
  if (device.ok()) {
    EXPECT_TRUE(Validate(*device).ok()) << Validate(*device);
    return;
  }
  EXPECT_EQ(device.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(device.status().message()), StartsWith("fuzz.textproto:"));
}

TEST(DeviceFileTest, TruncatedEntriesGiveAStatus) {
  for (size_t length = 0; length < kEntry.size(); ++length) ExpectStatusOrValid(kEntry.substr(0, length));
}

TEST(DeviceFileTest, GarbageGivesAStatus) {
  Random random;
  for (const EmbeddedDevice& embedded : EmbeddedDevices()) {
    for (int round = 0; round < 40; ++round) {
      std::string text(embedded.text);
      const uint32_t changes = 1 + random.Next(4);
      for (uint32_t i = 0; i < changes; ++i) {
        const size_t at = random.Next(static_cast<uint32_t>(text.size()));
        switch (random.Next(3)) {
          case 0:
            text[at] = static_cast<char>(random.Next(256));
            break;
          case 1:
            text.erase(at, 1 + random.Next(30));
            break;
          default:
            text.insert(at, text.substr(random.Next(static_cast<uint32_t>(text.size())), random.Next(60)));
        }
      }
      ExpectStatusOrValid(text);
    }
  }
}

TEST(DeviceFileTest, HostileShapesGiveAStatus) {
  ExpectStatusOrValid(std::string(100000, '{'));
  ExpectStatusOrValid(absl::StrCat("peak ", std::string(50000, '{')));
  ExpectStatusOrValid(std::string("name: \"\0\xff\xfe\"", 12));
  ExpectStatusOrValid(absl::StrCat("name: \"", std::string(200000, 'a')));
  ExpectStatusOrValid("on_chip { capacity_bytes: 99999999999999999999999 }");
  ExpectStatusOrValid("[type.googleapis.com/x.Y] { a: 1 }");
  std::string many;
  for (int i = 0; i < 3000; ++i) many += "peak { arithmetic: FP16 }\n";
  ExpectStatusOrValid(many);
}

}  // namespace
}  // namespace reusescope
