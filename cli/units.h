// Numbers for people: "25.6 M", "97.7 MiB", "1.56 TB/s", "12.3 ms".
//
//   FormatCount(25'557'032)                 -> "25.6 M"        SI, counts
//   FormatBytes(102'228'128)                -> "97.5 MiB"      IEC, amounts of memory and traffic
//   FormatRate(1.555e12, "B")               -> "1.56 TB/s"     SI, rates
//   FormatSeconds(0.0123)                   -> "12.3 ms"
//   FormatExact(25'557'032)                 -> "25,557,032"
//
// Three significant digits, four where 1000 to 1023 of a binary unit fall. Number and unit are separated by one space,
// so that a table can align both. Zero is "0"; infinities and NaN are "-". Reading such numbers is hwdb/quantity.h's
// work.

#ifndef REUSESCOPE_CLI_UNITS_H_
#define REUSESCOPE_CLI_UNITS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace reusescope::cli {

// What stands where a number does not apply.
inline constexpr absl::string_view kNotApplicable = "-";

// "0", "512", "1.02 k", "25.6 M", ..., "9.22 E"; with a unit "512 FLOPs", "786 GFLOPs".
std::string FormatCount(double count, absl::string_view unit = "");
// "0 B", "512 B", "97.5 MiB". Negative amounts keep their sign.
std::string FormatBytes(int64_t bytes);
// "312 TFLOP/s" for unit "FLOP", "1.56 TB/s" for unit "B".
std::string FormatRate(double per_second, absl::string_view unit);
// "95.1 µs", "12.3 ms", "2.5 min".
std::string FormatSeconds(double seconds);
// A plain ratio: "0.012", "23.4", "1,234".
std::string FormatRatio(double ratio);
// Of a share in [0, 1]: "12.3 %". What is not zero does not look like it: "<0.1 %".
std::string FormatPercent(double share);
// Thousands separated by commas.
std::string FormatExact(int64_t count);
// "1 block", "16 blocks", "1,024 edges". `noun` is in the singular and takes an s.
std::string FormatPlural(int64_t count, absl::string_view noun);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_UNITS_H_
