// What a device can do, in sourced numbers: peak FLOP/s by arithmetic, memory, bandwidth, on-chip capacity, power,
// link.
//
//   RS_ASSIGN_OR_RETURN(Hardware gpu, FindDevice("a100"));
//   gpu.on_chip.capacity_bytes                    -> 41,943,040
//   gpu.memory_bandwidth_bytes_per_second         -> 2.039e12
//   PeakFor(gpu, "bf16")->flops_per_second        -> 3.12e14
//   PeakFor(gpu, "bf16")->flops_per_second / gpu.memory_bandwidth_bytes_per_second    -> ridge point, FLOP/B
//   ParseThreeNumbers("capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s")         -> a device that does not exist
//
// Conventions. Peaks are dense: what structured sparsity adds is kept apart and never used. 1 MAC = 2 FLOP; integer
// operations are counted the same way. Rates are SI. A memory size in GB is the vendor's printed label, 1 GB = 10^9 B;
// `usable_memory_bytes` is what the device reports to a program, where a source tells. Every number has a source, a
// date and a standing (Provenance); what nobody published is absent, never zero. A device is what one program sees as
// one device: one GPU, one TPU chip, one of the two dies of an MI250X.
//
// Not modelled: clocks that drop under load, several devices at once, latency.

#ifndef REUSESCOPE_HWDB_HARDWARE_H_
#define REUSESCOPE_HWDB_HARDWARE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reusescope {

// Arithmetic of the multiplier's inputs. kAny is the single throughput of a device made by ParseThreeNumbers.
enum class Arithmetic : uint8_t { kAny, kFp64, kFp32, kTf32, kFp16, kBf16, kFp8, kFp6, kFp4, kInt8, kInt4 };
// "fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp6", "fp4", "int8", "int4"; "any".
absl::string_view ArithmeticName(Arithmetic arithmetic);
// Also "float32", "bfloat16", "half", ...; any case. kInvalidArgument lists the names.
absl::StatusOr<Arithmetic> ArithmeticFromName(absl::string_view name);

// Matrix units (tensor cores, MXU, MME) do contractions only; everything else runs on the vector units.
enum class ComputeUnit : uint8_t { kMatrix, kVector };
enum class HardwareKind : uint8_t { kGpu, kTpu, kNpu, kCpu, kAcademic, kCustom };
absl::string_view HardwareKindName(HardwareKind kind);  // "gpu", "tpu", ..., "custom"
// A cache decides by itself what it holds; a software-managed memory is told.
enum class OnChipKind : uint8_t { kCache, kSoftwareManaged };

// How a number came here: read in the source; computed from such numbers (the note has the formula); said by others to
// be in the source, which nobody here has opened (the note tells what was heard); given by the user.
enum class Standing : uint8_t { kCited, kDerived, kUnverified, kGiven };
absl::string_view StandingName(Standing standing);  // "cited", "derived", "unverified", "given"

// One number as people should see it, with where it is from.
struct SourcedNumber {
  std::string label;  // "peak bf16 (fp32 accumulate, matrix)", "memory bandwidth"
  double value = 0;
  std::string unit;       // "FLOP/s", "B/s", "B", "W", "1" for a fraction, "USD", "year"
  std::string source;     // "title, https://..."
  std::string retrieved;  // "2026-11-21"
  Standing standing = Standing::kCited;
  std::string note;  // for kDerived the formula; may be empty for kCited
};

// The dense peak of one kind of arithmetic. Where the width of the accumulator changes the rate there are two rows.
struct Peak {
  Arithmetic arithmetic = Arithmetic::kAny;
  int accumulate_bits = 32;
  ComputeUnit unit = ComputeUnit::kMatrix;
  double flops_per_second = 0;
  std::optional<double> sparse_flops_per_second;  // with structured sparsity; for display only
};

// A memory on the chip.
struct OnChipMemory {
  std::string name;            // "L2", "Infinity Cache", "VMEM"
  int64_t capacity_bytes = 0;  // of all instances together
  OnChipKind kind = OnChipKind::kCache;
  int64_t instances = 1;  // above 1 the memory is split: one core reaches capacity_bytes / instances of it directly
};

struct Link {
  std::string name;                   // "NVLink 3"
  double bytes_per_second = 0;        // of the whole device
  bool both_directions_added = true;  // true: in plus out; false: one direction
};

struct Hardware {
  std::string name;          // "a100-sxm-80gb": lower case, dashes
  std::string display_name;  // "NVIDIA A100 SXM 80 GB"
  std::vector<std::string> aliases;
  std::string vendor;
  HardwareKind kind = HardwareKind::kGpu;
  std::string announced;  // "2020-11", "2017", or empty

  std::vector<Peak> peaks;                       // matrix rows and vector rows
  double memory_bandwidth_bytes_per_second = 0;  // off-chip, reads and writes together
  OnChipMemory on_chip;                          // the last level before that, shared by the whole chip
  std::vector<OnChipMemory> inner_levels;        // nearer the arithmetic, outermost first; often empty

  std::optional<int64_t> memory_capacity_bytes;  // the label
  std::optional<int64_t> usable_memory_bytes;    // what the device reports to a program
  std::optional<double> power_watts;             // TDP, or the vendor's word nearest to it
  std::optional<Link> link;                      // to its peers
  std::optional<double> price_usd;

  // Share of a peak that large matrix products were measured to reach, by arithmetic. See AchievableFraction.
  std::vector<std::pair<Arithmetic, double>> achievable;
  std::optional<double> achievable_bandwidth_fraction;

  // Rules of Validate that the entry breaks on purpose: rule and reason.
  std::vector<std::pair<std::string, std::string>> waivers;
  std::vector<SourcedNumber> provenance;  // one for every number above
};

// The device of that name among those compiled in. Case, spaces, dashes, underscores and a leading vendor name do not
// matter; aliases work ("a100", "h100", "rtx4090", "4090"). kNotFound names the nearest.
absl::StatusOr<Hardware> FindDevice(absl::string_view name);

// All that are compiled in, by name. Parses every entry (some milliseconds).
absl::StatusOr<std::vector<Hardware>> AllDevices();
// Their names, sorted, without parsing anything.
std::vector<std::string> DeviceNames();

// An entry of the form of devices/*.textproto, from a file. The entry must pass Validate.
absl::StatusOr<Hardware> LoadDeviceFile(const std::string& path);
// The same from text; `origin` stands in error messages for the file.
absl::StatusOr<Hardware> ParseDevice(absl::string_view textproto, absl::string_view origin);

// A device from the three numbers that suffice, and more where wanted. Keys, in any order, separated by commas:
//   capacity    on-chip memory, software-managed            required, "96MiB"
//   bandwidth   of off-chip memory                          required, "1TB/s"
//   throughput  of matrix arithmetic, in every precision    required, "100TFLOP/s"
//   vector      throughput of everything else               else `throughput` serves for it too
//   memory      off-chip capacity                           else unknown
//   name                                                    else "custom"
absl::StatusOr<Hardware> ParseThreeNumbers(absl::string_view text);

// A peak as chosen for a request, which may differ from what was asked for; `note` then says how and why.
struct ChosenPeak {
  double flops_per_second = 0;
  Arithmetic arithmetic = Arithmetic::kAny;
  int accumulate_bits = 32;
  ComputeUnit unit = ComputeUnit::kMatrix;
  std::string note;  // empty when the peak is exactly what was asked for
};

// The dense peak of matrix products in `arithmetic`, the fastest unit that can do them (fp32 products run on the vector
// units of most GPUs). Fallbacks, each told in `note`:
//   tf32                                          -> fp32, where there are no tf32 units
//   fp16-accumulate, where there is no such row   -> fp32-accumulate
// kFailedPrecondition names what the device has: bf16 on a V100, fp32 on a TPU (no figure is published).
absl::StatusOr<ChosenPeak> PeakFor(const Hardware& hardware, Arithmetic arithmetic, int accumulate_bits = 32);
absl::StatusOr<ChosenPeak> PeakFor(const Hardware& hardware, absl::string_view arithmetic, int accumulate_bits = 32);

// The peak of element-wise work, reductions and normalizations: the fp32 rate of the vector units, which frameworks use
// for 16-bit tensors as well. Without a published one, the slowest matrix peak of at least 16 bits, told in `note`.
ChosenPeak VectorPeak(const Hardware& hardware);

// Measured share of the peak that large matrix products reach; fp16 and bf16 stand in for each other. nullopt: nobody
// published one.
std::optional<double> AchievableFraction(const Hardware& hardware, Arithmetic arithmetic);

// Bytes that a program can have: what the device reports, else the label; nullopt if neither is known.
std::optional<int64_t> AvailableMemoryBytes(const Hardware& hardware);

// Every number of the entry in reading order, with its source. User-given devices have standing "given".
const std::vector<SourcedNumber>& Provenance(const Hardware& hardware);

// The rules that an entry obeys: a name; positive, finite numbers; dense <= sparse; fp16 = bf16 and fp8 = 2 * fp16 on
// the matrix units; ridge point (fastest 16-bit matrix peak over bandwidth) within 20..3000 FLOP/B; fractions within
// (0, 1]; usable memory near the label; a source and a date for every number, a formula for every derived one.
// `waivers` can name fp16_equals_bf16, fp8_twice_fp16, ridge_point and usable_memory; a waiver that is not needed is an
// error itself. kInvalidArgument names device, found and expected.
absl::Status Validate(const Hardware& hardware);

}  // namespace reusescope

#endif  // REUSESCOPE_HWDB_HARDWARE_H_
