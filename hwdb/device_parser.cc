// ParseDevice, LoadDeviceFile: from the text form of hardware.proto to the plain struct.

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/text_format.h"
#include "hwdb/check_device.h"
#include "hwdb/hardware.h"
#include "hwdb/hardware.pb.h"

namespace reusescope {
namespace {

static_assert(static_cast<int>(Arithmetic::kFp64) == hwdb::FP64 && static_cast<int>(Arithmetic::kBf16) == hwdb::BF16 &&
                  static_cast<int>(Arithmetic::kInt4) == hwdb::INT4,
              "the two enums are numbered alike");

constexpr int64_t kMaxFileBytes = int64_t{1} << 20;

// Keeps the first error; the default collector would print to stderr.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column, const std::string& message) override {
    if (text_.empty()) text_ = absl::StrCat(line + 1, ":", column + 1, ": ", message);
  }
  void AddWarning(int, google::protobuf::io::ColumnNumber, const std::string&) override {}
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// Copies one message into one Hardware, remembering what does not hold.
class Converter {
 public:
  explicit Converter(const hwdb::Device& proto) : proto_(proto) {
    for (const hwdb::Source& source : proto.source()) {
      if (!sources_.emplace(source.key(), &source).second)
        Fail(absl::StrCat("found source key '", source.key(), "' twice"));
    }
  }

  CheckedDevice Convert() {
    ConvertNames();
    for (const hwdb::Peak& peak : proto_.peak()) ConvertPeak(peak);
    ConvertMemory();
    ConvertRest();
    ConvertMeasured();
    for (const hwdb::Waiver& waiver : proto_.waiver()) {
      if (waiver.reason().empty()) Fail(absl::StrCat("found no reason for the waiver of '", waiver.rule(), "'"));
      hardware_.waivers.emplace_back(waiver.rule(), waiver.reason());
    }
    for (const hwdb::Source& source : proto_.source()) {
      if (used_.count(source.key()) == 0) Fail(absl::StrCat("found source '", source.key(), "', which no number uses"));
    }
    for (std::string& broken : BrokenRules(hardware_)) {
      // That something is not there has been said.
      const bool known = (!proto_.has_memory_bandwidth() && absl::StartsWith(broken, "found memory bandwidth")) ||
                         (!proto_.has_on_chip() && absl::StartsWith(broken, "on-chip memory ''"));
      if (!known) Fail(broken);
    }
    return {std::move(hardware_), std::move(problems_)};
  }

 private:
  void Fail(absl::string_view problem) { problems_.emplace_back(problem); }

  // Records a number as people see it.
  void Add(absl::string_view label, double value, absl::string_view unit, const hwdb::Origin& origin) {
    SourcedNumber number{.label = std::string(label), .value = value, .unit = std::string(unit), .note = origin.note()};
    std::vector<std::string> pages;
    for (const std::string& key : origin.source()) {
      const auto found = sources_.find(key);
      if (found == sources_.end()) {
        Fail(absl::StrCat(label, ": found source '", key, "', expected the key of a source of this file"));
        return;
      }
      used_.insert(key);
      pages.push_back(absl::StrCat(found->second->title(), ", ", found->second->url()));
      if (number.retrieved.empty()) number.retrieved = found->second->retrieved();
    }
    number.source = absl::StrJoin(pages, "; ");
    switch (origin.standing()) {
      case hwdb::CITED:
        number.standing = Standing::kCited;
        break;
      case hwdb::DERIVED:
        number.standing = Standing::kDerived;
        break;
      case hwdb::UNVERIFIED:
        number.standing = Standing::kUnverified;
        break;
      default:
        Fail(absl::StrCat(label, ": found no standing, expected CITED, DERIVED or UNVERIFIED"));
    }
    hardware_.provenance.push_back(std::move(number));
  }

  Arithmetic ConvertArithmetic(hwdb::Arithmetic arithmetic) {
    if (!hwdb::Arithmetic_IsValid(arithmetic) || arithmetic == hwdb::ARITHMETIC_UNSPECIFIED) {
      Fail("found a number without its arithmetic, expected FP64 to INT4");
      return Arithmetic::kAny;
    }
    return static_cast<Arithmetic>(arithmetic);
  }

  void ConvertNames() {
    hardware_.name = proto_.name();
    hardware_.display_name = proto_.display_name();
    hardware_.aliases.assign(proto_.alias().begin(), proto_.alias().end());
    hardware_.vendor = proto_.vendor();
    if (!hwdb::DeviceKind_IsValid(proto_.kind()) || proto_.kind() == hwdb::DEVICE_KIND_UNSPECIFIED) {
      Fail("found no kind, expected GPU, TPU, NPU, CPU or ACADEMIC");
    } else {
      hardware_.kind = static_cast<HardwareKind>(proto_.kind() - hwdb::GPU);
    }
    if (!proto_.has_announced()) return;
    hardware_.announced = proto_.announced().date();
    const std::string year = hardware_.announced.substr(0, 4);
    Add(absl::StrCat("announced ", hardware_.announced), std::atof(year.c_str()), "year", proto_.announced().origin());
  }

  void ConvertPeak(const hwdb::Peak& proto) {
    Peak peak{.arithmetic = ConvertArithmetic(proto.arithmetic()),
              .accumulate_bits = proto.accumulate_bits(),
              .unit = proto.unit() == hwdb::VECTOR ? ComputeUnit::kVector : ComputeUnit::kMatrix,
              .flops_per_second = proto.flops_per_second()};
    const absl::string_view name = ArithmeticName(peak.arithmetic);
    if (proto.unit() != hwdb::VECTOR && proto.unit() != hwdb::MATRIX) {
      Fail(absl::StrCat("peak ", name, ": found no unit, expected MATRIX or VECTOR"));
    }
    const std::string how = absl::StrCat(" (", peak.unit == ComputeUnit::kVector ? "vector" : "matrix", ", ",
                                         peak.accumulate_bits, "-bit accumulate)");
    Add(absl::StrCat("peak ", name, how), peak.flops_per_second, "FLOP/s", proto.origin());
    if (proto.has_sparse_flops_per_second()) {
      peak.sparse_flops_per_second = proto.sparse_flops_per_second();
      Add(absl::StrCat("peak ", name, how, " with structured sparsity"), *peak.sparse_flops_per_second, "FLOP/s",
          proto.origin());
    }
    hardware_.peaks.push_back(peak);
  }

  OnChipMemory ConvertOnChip(const hwdb::OnChipMemory& proto) {
    if (proto.kind() != hwdb::CACHE && proto.kind() != hwdb::SOFTWARE_MANAGED) {
      Fail(absl::StrCat("on-chip memory '", proto.name(), "': found no kind, expected CACHE or SOFTWARE_MANAGED"));
    }
    Add(absl::StrCat("on-chip ", proto.name()), static_cast<double>(proto.capacity_bytes()), "B", proto.origin());
    return {.name = proto.name(),
            .capacity_bytes = proto.capacity_bytes(),
            .kind = proto.kind() == hwdb::CACHE ? OnChipKind::kCache : OnChipKind::kSoftwareManaged,
            .instances = proto.instances()};
  }

  void ConvertMemory() {
    if (!proto_.has_memory_bandwidth()) Fail("found no memory_bandwidth, expected one");
    if (!proto_.has_on_chip()) Fail("found no on_chip memory, expected one");
    if (proto_.has_memory_bandwidth()) {
      hardware_.memory_bandwidth_bytes_per_second = proto_.memory_bandwidth().bytes_per_second();
      Add("memory bandwidth", hardware_.memory_bandwidth_bytes_per_second, "B/s", proto_.memory_bandwidth().origin());
    }
    if (proto_.has_memory_capacity()) {
      hardware_.memory_capacity_bytes = proto_.memory_capacity().capacity_bytes();
      Add("memory capacity", static_cast<double>(*hardware_.memory_capacity_bytes), "B",
          proto_.memory_capacity().origin());
    }
    if (proto_.has_usable_memory()) {
      hardware_.usable_memory_bytes = proto_.usable_memory().capacity_bytes();
      Add("usable memory", static_cast<double>(*hardware_.usable_memory_bytes), "B", proto_.usable_memory().origin());
    }
    if (proto_.has_on_chip()) hardware_.on_chip = ConvertOnChip(proto_.on_chip());
    for (const hwdb::OnChipMemory& level : proto_.inner_level()) {
      hardware_.inner_levels.push_back(ConvertOnChip(level));
    }
  }

  void ConvertRest() {
    if (proto_.has_power()) {
      hardware_.power_watts = proto_.power().watts();
      Add("power", *hardware_.power_watts, "W", proto_.power().origin());
    }
    if (proto_.has_link()) {
      const hwdb::Link& link = proto_.link();
      const bool both = link.direction() == hwdb::BOTH_DIRECTIONS_ADDED;
      if (!both && link.direction() != hwdb::ONE_DIRECTION) {
        Fail("link: found no direction, expected ONE_DIRECTION or BOTH_DIRECTIONS_ADDED");
      }
      hardware_.link =
          Link{.name = link.name(), .bytes_per_second = link.bytes_per_second(), .both_directions_added = both};
      Add(absl::StrCat("link ", link.name(), both ? " (both directions added)" : " (one direction)"),
          link.bytes_per_second(), "B/s", link.origin());
    }
    if (proto_.has_price()) {
      hardware_.price_usd = proto_.price().usd();
      Add("price", *hardware_.price_usd, "USD", proto_.price().origin());
    }
  }

  void ConvertMeasured() {
    for (const hwdb::Achievable& measured : proto_.achievable()) {
      const Arithmetic arithmetic = ConvertArithmetic(measured.arithmetic());
      hardware_.achievable.emplace_back(arithmetic, measured.fraction_of_peak());
      Add(absl::StrCat("achievable fraction of the ", ArithmeticName(arithmetic), " peak"), measured.fraction_of_peak(),
          "1", measured.origin());
    }
    if (!proto_.has_achievable_bandwidth()) return;
    hardware_.achievable_bandwidth_fraction = proto_.achievable_bandwidth().fraction_of_peak();
    Add("achievable fraction of the memory bandwidth", *hardware_.achievable_bandwidth_fraction, "1",
        proto_.achievable_bandwidth().origin());
  }

  const hwdb::Device& proto_;
  Hardware hardware_;
  std::map<std::string, const hwdb::Source*> sources_;
  std::set<std::string> used_;
  std::vector<std::string> problems_;
};

absl::StatusOr<CheckedDevice> Check(absl::string_view textproto, absl::string_view origin) {
  if (static_cast<int64_t>(textproto.size()) > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(origin, ": found ", textproto.size(), " bytes, expected at most ", kMaxFileBytes));
  }
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  google::protobuf::io::ArrayInputStream input(textproto.data(), static_cast<int>(textproto.size()));
  hwdb::Device proto;
  if (!parser.Parse(&input, &proto)) return absl::InvalidArgumentError(absl::StrCat(origin, ":", error.text()));
  return Converter(proto).Convert();
}

absl::StatusOr<std::string> ReadDeviceFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("found no readable file '", path, "', expected a device entry"));
  std::string text;
  // One byte over the limit is enough for Check to refuse it.
  text.resize(kMaxFileBytes + 1);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (file.bad()) return absl::DataLossError(absl::StrCat(path, ": reading stopped after ", text.size(), " bytes"));
  return text;
}

}  // namespace

absl::StatusOr<Hardware> ParseDevice(absl::string_view textproto, absl::string_view origin) {
  absl::StatusOr<CheckedDevice> device = Check(textproto, origin);
  if (!device.ok()) return device.status();
  if (device->problems.empty()) return std::move(device->hardware);
  return absl::InvalidArgumentError(
      absl::StrCat(origin, ": device '", device->hardware.name, "': ", absl::StrJoin(device->problems, "; ")));
}

absl::StatusOr<Hardware> LoadDeviceFile(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadDeviceFile(path);
  return text.ok() ? ParseDevice(*text, path) : text.status();
}

absl::StatusOr<CheckedDevice> CheckDeviceFile(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadDeviceFile(path);
  return text.ok() ? Check(*text, path) : text.status();
}

}  // namespace reusescope
