// Numbers with units, as people type them: "96MiB", "1.5 GB/s", "100TFLOP/s" -> bytes, B/s, FLOP/s.
//
//   ParseBytes("96MiB")                -> 100,663,296
//   ParseBytes("80GB")                 -> 80,000,000,000
//   ParseBytesPerSecond("1.5 GB/s")    -> 1.5e9
//   ParseFlopsPerSecond("100TFLOP/s")  -> 1e14
//
// A number, then at most one space, then the unit; the unit is required (a bare number would leave its scale to
// chance), save that a bare whole number of bytes is accepted. SI prefixes are k M G T P E = 10^3..10^18, IEC prefixes
// Ki Mi Gi Ti Pi Ei = 2^10..2^60; both work everywhere and in either case. "FLOPS" and "OPS" ("TFLOPS", "TOPS") mean
// per second. Bits are not read: a lower-case b is a byte in a capacity and an error in a rate, where "Gb/s" would mean
// bits. Errors are kInvalidArgument with what was found, what was expected and an example.

#ifndef REUSESCOPE_HWDB_QUANTITY_H_
#define REUSESCOPE_HWDB_QUANTITY_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reusescope {

// A capacity: non-negative, at most 2^63 - 1, rounded to whole bytes.
absl::StatusOr<int64_t> ParseBytes(absl::string_view text);
// "1TB/s", "1.5 GB/s", "900GBps". Positive.
absl::StatusOr<double> ParseBytesPerSecond(absl::string_view text);
// "100TFLOP/s", "100 TFLOPS", "130TOPS", "1e14FLOP/s". Positive.
absl::StatusOr<double> ParseFlopsPerSecond(absl::string_view text);

}  // namespace reusescope

#endif  // REUSESCOPE_HWDB_QUANTITY_H_
