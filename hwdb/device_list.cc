// FindDevice, AllDevices, DeviceNames: the devices that are compiled in.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "hwdb/embedded_devices.h"
#include "hwdb/hardware.h"

namespace reusescope {
namespace {

constexpr size_t kNumCandidates = 4;

// What is compared: lower-case letters and digits only, without makers' and product lines' names in front.
std::string Normalize(absl::string_view name) {
  std::string normal;
  for (const char c : name) {
    if (absl::ascii_isalnum(c)) normal.push_back(absl::ascii_tolower(c));
  }
  absl::string_view rest = normal;
  bool stripped = true;
  while (stripped) {
    stripped = false;
    for (const absl::string_view word : {"nvidia", "amd", "google", "intel", "aws", "geforce", "tesla", "instinct"}) {
      if (rest.size() > word.size() && absl::ConsumePrefix(&rest, word)) stripped = true;
    }
  }
  return std::string(rest);
}

// Levenshtein distance.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

// 0 when one contains the other, which is how people abbreviate; the edit distance otherwise.
size_t Distance(absl::string_view wanted, absl::string_view name) {
  const std::string other = Normalize(name);
  if (wanted.size() >= 2 && (absl::StrContains(other, wanted) || absl::StrContains(wanted, other))) return 0;
  return EditDistance(wanted, other);
}

absl::Status NotFound(absl::string_view name, const std::vector<Hardware>& devices) {
  // Long nonsense is as far from everything as it is long, so that its candidates would mean nothing (and cost much).
  const std::string wanted = Normalize(name).substr(0, 64);
  std::vector<std::pair<size_t, absl::string_view>> ranked;
  for (const Hardware& device : devices) {
    size_t nearest = Distance(wanted, device.name);
    for (const std::string& alias : device.aliases) nearest = std::min(nearest, Distance(wanted, alias));
    ranked.emplace_back(nearest, device.name);
  }
  std::sort(ranked.begin(), ranked.end());
  if (ranked.size() > kNumCandidates) ranked.resize(kNumCandidates);
  const auto formatter = [](std::string* out, const auto& entry) { absl::StrAppend(out, entry.second); };
  return absl::NotFoundError(
      absl::StrCat("found no device '", name, "', nearest: ", absl::StrJoin(ranked, ", ", formatter)));
}

// Is this one of the names of the entry? Looks at the lines of names only: parsing every entry to answer `--hw a100`
// would cost more than the rest of the lookup.
bool Answers(absl::string_view text, absl::string_view wanted) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::ConsumePrefix(&line, "alias: \"") && !absl::ConsumePrefix(&line, "display_name: \"")) continue;
    if (absl::ConsumeSuffix(&line, "\"") && Normalize(line) == wanted) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> DeviceNames() {
  std::vector<std::string> names;
  for (const EmbeddedDevice& device : EmbeddedDevices()) names.emplace_back(device.name);
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<std::vector<Hardware>> AllDevices() {
  std::vector<Hardware> devices;
  for (const EmbeddedDevice& embedded : EmbeddedDevices()) {
    absl::StatusOr<Hardware> device = ParseDevice(embedded.text, absl::StrCat(embedded.name, ".textproto"));
    if (!device.ok()) return device.status();
    devices.push_back(*std::move(device));
  }
  std::sort(devices.begin(), devices.end(), [](const Hardware& a, const Hardware& b) { return a.name < b.name; });
  return devices;
}

absl::StatusOr<Hardware> FindDevice(absl::string_view name) {
  const std::string wanted = Normalize(name);
  const auto parse = [](const EmbeddedDevice& embedded) {
    return ParseDevice(embedded.text, absl::StrCat(embedded.name, ".textproto"));
  };
  for (const EmbeddedDevice& embedded : EmbeddedDevices()) {
    if (Normalize(embedded.name) == wanted) return parse(embedded);
  }
  for (const EmbeddedDevice& embedded : EmbeddedDevices()) {
    if (Answers(embedded.text, wanted)) return parse(embedded);
  }
  const absl::StatusOr<std::vector<Hardware>> devices = AllDevices();
  return devices.ok() ? NotFound(name, *devices) : devices.status();
}

}  // namespace reusescope
