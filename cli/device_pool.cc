#include "cli/device_pool.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "analysis/ir/status_util.h"
#include "cli/devices.h"
#include "cli/text.h"

namespace reusescope::cli {
namespace {

bool MatchesGlob(absl::string_view text, absl::string_view pattern) {
  const size_t star = pattern.find('*');
  if (star == absl::string_view::npos) return text == pattern;
  if (text.substr(0, star) != pattern.substr(0, star)) return false;
  text.remove_prefix(std::min(star, text.size()));
  pattern.remove_prefix(star + 1);
  for (size_t skip = 0; skip <= text.size(); ++skip) {
    if (MatchesGlob(text.substr(skip), pattern)) return true;
  }
  return false;
}

bool Matches(const Hardware& device, const std::string& pattern) {
  if (HardwareKindName(device.kind) == pattern || absl::AsciiStrToLower(device.vendor) == pattern) return true;
  if (MatchesGlob(device.name, pattern)) return true;
  return std::any_of(device.aliases.begin(), device.aliases.end(),
                     [&](const std::string& alias) { return MatchesGlob(alias, pattern); });
}

}  // namespace

absl::StatusOr<std::vector<Hardware>> DevicePool(const std::string& folder) {
  RS_ASSIGN_OR_RETURN(std::vector<Hardware> pool, AllDevices());
  if (folder.empty()) return pool;
  std::error_code error;
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".textproto") files.push_back(entry.path().string());
  }
  if (error) {
    return absl::NotFoundError(absl::StrCat("cannot read the folder '", Printable(folder), "': ", error.message()));
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) {
    RS_ASSIGN_OR_RETURN(Hardware device, LoadDeviceFile(file));
    const auto same = [&device](const Hardware& other) { return other.name == device.name; };
    pool.erase(std::remove_if(pool.begin(), pool.end(), same), pool.end());
    pool.push_back(std::move(device));
  }
  std::sort(pool.begin(), pool.end(), [](const Hardware& a, const Hardware& b) { return a.name < b.name; });
  return pool;
}

absl::StatusOr<Hardware> FindInPool(const std::vector<Hardware>& pool, const std::string& text) {
  for (const Hardware& device : pool) {
    const bool alias = std::find(device.aliases.begin(), device.aliases.end(), text) != device.aliases.end();
    if (device.name == text || alias) return device;
  }
  return ResolveHardware(text);
}

absl::StatusOr<std::vector<Hardware>> SelectDevices(std::vector<Hardware> pool, absl::string_view patterns) {
  std::vector<bool> selected(pool.size());
  for (absl::string_view part : absl::StrSplit(patterns, ',')) {
    const std::string pattern = absl::AsciiStrToLower(absl::StripAsciiWhitespace(part));
    bool found = false;
    for (size_t d = 0; d < pool.size(); ++d) {
      if (!Matches(pool[d], pattern)) continue;
      found = selected[d] = true;
    }
    if (found) continue;
    std::vector<std::string> names;
    for (const Hardware& device : pool) names.push_back(device.name);
    return absl::NotFoundError(absl::StrCat("no device matches '", Printable(part), "'", DidYouMean(pattern, names),
                                            "; 'reusescope devices' lists them"));
  }
  std::vector<Hardware> out;
  for (size_t d = 0; d < pool.size(); ++d) {
    if (selected[d]) out.push_back(std::move(pool[d]));
  }
  return out;
}

}  // namespace reusescope::cli
