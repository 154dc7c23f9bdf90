// ParseThreeNumbers: a device from "capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s".

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "hwdb/hardware.h"
#include "hwdb/quantity.h"

namespace reusescope {
namespace {

constexpr absl::string_view kExample = "for example 'capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s'";

struct Numbers {
  std::optional<int64_t> capacity_bytes, memory_bytes;
  std::optional<double> bandwidth_bytes_per_second, throughput_flops_per_second, vector_flops_per_second;
  std::optional<std::string> name;
};

template <typename T>
absl::Status Assign(absl::string_view key, absl::StatusOr<T> parsed, std::optional<T>* field) {
  if (!parsed.ok()) return absl::InvalidArgumentError(absl::StrCat(key, ": ", parsed.status().message()));
  if (field->has_value()) return absl::InvalidArgumentError(absl::StrCat("found '", key, "' twice, expected it once"));
  *field = *std::move(parsed);
  return absl::OkStatus();
}

absl::Status ReadPair(absl::string_view pair, Numbers* numbers) {
  const std::vector<absl::string_view> sides = absl::StrSplit(pair, absl::MaxSplits('=', 1));
  if (sides.size() != 2) {
    return absl::InvalidArgumentError(absl::StrCat("found '", pair, "', expected key=value, ", kExample));
  }
  const std::string key = absl::AsciiStrToLower(absl::StripAsciiWhitespace(sides[0]));
  const absl::string_view value = absl::StripAsciiWhitespace(sides[1]);
  if (key == "capacity") return Assign(key, ParseBytes(value), &numbers->capacity_bytes);
  if (key == "bandwidth") return Assign(key, ParseBytesPerSecond(value), &numbers->bandwidth_bytes_per_second);
  if (key == "throughput") return Assign(key, ParseFlopsPerSecond(value), &numbers->throughput_flops_per_second);
  if (key == "vector") return Assign(key, ParseFlopsPerSecond(value), &numbers->vector_flops_per_second);
  if (key == "memory") return Assign(key, ParseBytes(value), &numbers->memory_bytes);
  if (key == "name") return Assign(key, absl::StatusOr<std::string>(std::string(value)), &numbers->name);
  return absl::InvalidArgumentError(absl::StrCat(
      "found key '", key, "', expected capacity, bandwidth, throughput, vector, memory or name, ", kExample));
}

absl::Status CheckComplete(const Numbers& numbers) {
  std::vector<absl::string_view> missing;
  if (!numbers.capacity_bytes) missing.push_back("capacity");
  if (!numbers.bandwidth_bytes_per_second) missing.push_back("bandwidth");
  if (!numbers.throughput_flops_per_second) missing.push_back("throughput");
  if (missing.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("found no '", missing[0], "', expected capacity, bandwidth and throughput, ", kExample));
}

void AddGiven(absl::string_view label, double value, absl::string_view unit, Hardware* hardware) {
  hardware->provenance.push_back({.label = std::string(label),
                                  .value = value,
                                  .unit = std::string(unit),
                                  .source = "given by the user",
                                  .standing = Standing::kGiven});
}

Hardware Build(const Numbers& numbers) {
  Hardware hardware{.name = numbers.name.value_or("custom"), .kind = HardwareKind::kCustom};
  hardware.display_name = hardware.name;
  hardware.peaks.push_back({.flops_per_second = *numbers.throughput_flops_per_second});
  AddGiven("peak throughput", *numbers.throughput_flops_per_second, "FLOP/s", &hardware);
  if (numbers.vector_flops_per_second) {
    hardware.peaks.push_back({.unit = ComputeUnit::kVector, .flops_per_second = *numbers.vector_flops_per_second});
    AddGiven("vector throughput", *numbers.vector_flops_per_second, "FLOP/s", &hardware);
  }
  hardware.memory_bandwidth_bytes_per_second = *numbers.bandwidth_bytes_per_second;
  AddGiven("memory bandwidth", *numbers.bandwidth_bytes_per_second, "B/s", &hardware);
  hardware.on_chip = {
      .name = "on-chip memory", .capacity_bytes = *numbers.capacity_bytes, .kind = OnChipKind::kSoftwareManaged};
  AddGiven("on-chip memory", static_cast<double>(*numbers.capacity_bytes), "B", &hardware);
  if (numbers.memory_bytes) {
    hardware.memory_capacity_bytes = numbers.memory_bytes;
    AddGiven("memory capacity", static_cast<double>(*numbers.memory_bytes), "B", &hardware);
  }
  return hardware;
}

}  // namespace

absl::StatusOr<Hardware> ParseThreeNumbers(absl::string_view text) {
  Numbers numbers;
  for (const absl::string_view pair : absl::StrSplit(text, ',')) {
    if (absl::Status status = ReadPair(pair, &numbers); !status.ok()) return status;
  }
  if (absl::Status status = CheckComplete(numbers); !status.ok()) return status;
  Hardware hardware = Build(numbers);
  if (absl::Status status = Validate(hardware); !status.ok()) return status;
  return hardware;
}

}  // namespace reusescope
