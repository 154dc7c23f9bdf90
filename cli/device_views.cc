// Devices in order, side by side, checked, and as JSON.

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/device_numbers.h"
#include "cli/devices.h"
#include "cli/table_layout.h"
#include "cli/text.h"
#include "cli/units.h"
#include "nlohmann/json.hpp"

namespace reusescope::cli {
namespace {

using Json = nlohmann::ordered_json;
using NumberOf = std::function<std::optional<double>(const Hardware&)>;

struct Order {
  const char* name;
  NumberOf number;
};

std::optional<double> AsDouble(const std::optional<int64_t>& count) {
  if (!count.has_value()) return std::nullopt;
  return static_cast<double>(*count);
}

const std::vector<Order>& Orders() {
  static const auto& orders = *new std::vector<Order>{
      {"memory", [](const Hardware& d) { return AsDouble(AvailableMemoryBytes(d)); }},
      {"bandwidth", [](const Hardware& d) { return std::optional<double>(d.memory_bandwidth_bytes_per_second); }},
      {"on-chip", [](const Hardware& d) { return std::optional<double>(d.on_chip.capacity_bytes); }},
      {"fp32", [](const Hardware& d) { return PeakOf(d, Arithmetic::kFp32); }},
      {"16-bit", PeakOf16},
      {"ridge", RidgeOf},
      {"power", [](const Hardware& d) { return d.power_watts; }},
  };
  return orders;
}

// A number that an entry may lack, and what follows where it does.
struct Lack {
  const char* what;
  std::function<bool(const Hardware&)> has;
  const char* consequence;
};

const std::vector<Lack>& Lacks() {
  static const auto& lacks = *new std::vector<Lack>{
      {"memory_capacity, usable_memory", [](const Hardware& d) { return AvailableMemoryBytes(d).has_value(); },
       "whether a model fits, and with which batch, cannot be told"},
      {"peak BF16 or FP16 on matrix units", [](const Hardware& d) { return PeakOf16(d).has_value(); },
       "16-bit precisions are refused"},
      {"peak FP32", [](const Hardware& d) { return PeakOf(d, Arithmetic::kFp32).has_value(); },
       "fp32 is refused, and element-wise work is timed with the slowest matrix peak"},
      {"power", [](const Hardware& d) { return d.power_watts.has_value(); }, "no energy is told"},
      {"link", [](const Hardware& d) { return d.link.has_value(); }, "several devices cannot be combined"},
      {"achievable", [](const Hardware& d) { return !d.achievable.empty(); },
       "times are those of the bare matrix peak, which is optimistic"},
      {"achievable_bandwidth", [](const Hardware& d) { return d.achievable_bandwidth_fraction.has_value(); },
       "times are those of the bare bandwidth, which is optimistic"},
      {"announced", [](const Hardware& d) { return !d.announced.empty(); }, "it is not ordered by age"},
      {"price", [](const Hardware& d) { return d.price_usd.has_value(); }, "nothing: costs take --price"},
  };
  return lacks;
}

Json NumberJson(const SourcedNumber& number) {
  return {{"label", number.label},
          {"value", number.value},
          {"unit", number.unit},
          {"source", number.source},
          {"retrieved", number.retrieved},
          {"standing", std::string(StandingName(number.standing))},
          {"note", number.note}};
}

// Labels carry names and dates that differ between devices; a comparison has one row for all.
std::string RowOf(const Hardware& device, const std::string& label) {
  if (label == absl::StrCat("on-chip ", device.on_chip.name)) return "on-chip memory";
  if (absl::StartsWith(label, "announced")) return "announced";
  if (absl::StartsWith(label, "link ")) return "link";
  return label;
}

// Values by label, in the order of the first device that has one.
struct Comparison {
  std::vector<std::string> labels;
  std::map<std::string, std::vector<std::optional<SourcedNumber>>> values;
};

Comparison Compare(const std::vector<Hardware>& devices) {
  Comparison comparison;
  for (size_t d = 0; d < devices.size(); ++d) {
    for (const SourcedNumber& number : Provenance(devices[d])) {
      const std::string label = RowOf(devices[d], number.label);
      auto [place, is_new] = comparison.values.try_emplace(label);
      if (is_new) comparison.labels.push_back(label);
      place->second.resize(devices.size());
      place->second[d] = number;
    }
  }
  return comparison;
}

}  // namespace

std::vector<std::string> DeviceOrders() {
  std::vector<std::string> names = {"name", "announced"};
  for (const Order& order : Orders()) names.emplace_back(order.name);
  return names;
}

void SortDevices(std::vector<Hardware>& devices, const std::string& order) {
  if (order == "announced") {
    std::stable_sort(devices.begin(), devices.end(),
                     [](const Hardware& a, const Hardware& b) { return a.announced > b.announced; });
  }
  for (const Order& row : Orders()) {
    if (row.name != order) continue;
    std::stable_sort(devices.begin(), devices.end(), [&row](const Hardware& a, const Hardware& b) {
      return row.number(a).value_or(-1) > row.number(b).value_or(-1);
    });
  }
}

std::string RenderDeviceComparison(const std::vector<Hardware>& devices, const Terminal& terminal) {
  std::vector<Column> columns = {{.header = "number", .flexible = true}};
  for (const Hardware& device : devices) columns.push_back({.header = device.name, .align = Align::kNumber});
  TableLayout table(std::move(columns));
  const Comparison comparison = Compare(devices);
  for (const std::string& label : comparison.labels) {
    const auto& values = comparison.values.at(label);
    double best = 0;
    int known = 0;
    for (const auto& value : values) {
      if (!value.has_value()) continue;
      best = std::max(best, value->value);
      ++known;
    }
    std::vector<Cell> row = {label};
    for (const auto& value : values) {
      if (!value.has_value()) {
        row.emplace_back(std::string(kNotApplicable));
        continue;
      }
      // Least power and price are best, of a date and a fraction none.
      const bool more_is_better = value->unit != "W" && value->unit != "USD" && value->unit != "year";
      const bool is_best = known > 1 && more_is_better && value->value == best;
      row.emplace_back(NumberCell(*value), is_best ? Style::kGood : Style::kPlain);
    }
    table.AddRow(std::move(row));
  }
  return table.Render(terminal.width, terminal.palette);
}

std::string RenderDeviceCheck(const CheckedDevice& checked, const std::string& file, const Terminal& terminal) {
  const Hardware& device = checked.hardware;
  std::set<std::string> sources;
  int derived = 0;
  for (const SourcedNumber& number : Provenance(device)) {
    sources.insert(number.source);
    derived += number.standing == Standing::kDerived;
  }
  const auto broken = static_cast<int64_t>(checked.problems.size());
  std::string out = absl::StrCat(
      Printable(file), ": ",
      broken == 0 ? terminal.palette.Paint("keeps every rule", Style::kGood)
                  : terminal.palette.Paint(absl::StrCat("breaks ", FormatPlural(broken, "rule")), Style::kBad),
      "\n  ", Printable(device.name), ", ", FormatPlural(static_cast<int64_t>(Provenance(device).size()), "number"),
      " from ", FormatPlural(static_cast<int64_t>(sources.size()), "source"), ", ", derived, " of them derived\n");
  for (const std::string& problem : checked.problems) {
    absl::string_view indent = "  - ";
    for (const std::string& line : Wrap(Printable(problem), terminal.width - 4)) {
      absl::StrAppend(&out, indent, line, "\n");
      indent = "    ";
    }
  }
  TableLayout table({{.header = "missing"}, {.header = "so", .flexible = true}});
  for (const Lack& lack : Lacks()) {
    if (!lack.has(device)) table.AddRow({lack.what, lack.consequence});
  }
  if (table.num_rows() == 0) return out;
  return absl::StrCat(out, "\n", table.Render(terminal.width, terminal.palette));
}

std::string RenderDevicesJson(const std::vector<Hardware>& devices) {
  Json list = Json::array();
  for (const Hardware& device : devices) {
    Json numbers = Json::array();
    for (const SourcedNumber& number : Provenance(device)) numbers.push_back(NumberJson(number));
    Json waivers = Json::object();
    for (const auto& [rule, reason] : device.waivers) waivers[rule] = reason;
    list.push_back({{"name", device.name},
                    {"display_name", device.display_name},
                    {"aliases", device.aliases},
                    {"vendor", device.vendor},
                    {"kind", std::string(HardwareKindName(device.kind))},
                    {"announced", device.announced},
                    {"numbers", numbers},
                    {"waivers", waivers}});
  }
  const Json document = {{"schema", "reusescope.devices/1"}, {"devices", list}};
  return document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace reusescope::cli
