#include "bench/accuracy/csv.h"

#include <fstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reusescope::accuracy {
namespace {

// The fields of one line. No field of our tables holds a line end.
std::vector<std::string> Fields(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const bool escaped_quote = quoted && line[i] == '"' && i + 1 < line.size() && line[i + 1] == '"';
    if (escaped_quote) {
      fields.back() += line[++i];
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      fields.emplace_back();
    } else if (line[i] != '\r') {
      fields.back() += line[i];
    }
  }
  return fields;
}

}  // namespace

absl::StatusOr<std::vector<CsvRow>> ReadCsv(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return absl::NotFoundError(absl::StrCat("cannot read '", path, "'"));
  const std::vector<std::string> header = Fields(line);
  std::vector<CsvRow> rows;
  while (std::getline(file, line)) {
    std::vector<std::string> fields = Fields(line);
    if (fields.size() != header.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", rows.size() + 2, ": found ", fields.size(), " fields, expected ", header.size()));
    }
    CsvRow row;
    for (size_t i = 0; i < header.size(); ++i) row[header[i]] = std::move(fields[i]);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace reusescope::accuracy
