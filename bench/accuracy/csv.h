// Tables of comma-separated values (RFC 4180) with a header line.
//
//   RS_ASSIGN_OR_RETURN(const std::vector<CsvRow> rows, ReadCsv("bench/accuracy/steps.csv"));
//   rows[0].at("gpu")

#ifndef REUSESCOPE_BENCH_ACCURACY_CSV_H_
#define REUSESCOPE_BENCH_ACCURACY_CSV_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace reusescope::accuracy {

using CsvRow = std::map<std::string, std::string>;

// kNotFound without the file; kInvalidArgument names the line that has not as many fields as the header.
absl::StatusOr<std::vector<CsvRow>> ReadCsv(const std::string& path);

}  // namespace reusescope::accuracy

#endif  // REUSESCOPE_BENCH_ACCURACY_CSV_H_
