// What --checkpoint means: which forward values are kept for backward, and which are computed again.
//
//   none      every value that backward reads is kept
//   blocks    each outermost block (measure/blocks.h) keeps what enters and leaves it; one that is most of the model,
//             as in a U-Net, is taken apart into its levels
//   every=N   segments of about N kernels: the schedule is cut where the fewest bytes cross, N/4 kernels to either side
//   sqrt      the same with N = sqrt(number of kernels): O(sqrt(n)) memory for one more forward pass (Chen et al. 2016)
//   keep=...  the values of that name, separated by tabs, as a plan lists them (plan/checkpoint_plan.h), and no others
//   REGEX     each module whose path matches (the part that matches names the segment: 'layers\.\d+') keeps what enters
//             and leaves it; a node without a module goes by its own name
//
// As torch.utils.checkpoint does around the same parts of the model: a segment keeps its inputs, and of what it
// computes what another segment begins with or a gradient outside of it reads, and nothing else. After the last cut of
// `every` and `sqrt` everything is kept: backward would compute it again at once. Bytes are of the exported types.

#ifndef REUSESCOPE_ANALYSIS_CHECKPOINT_POLICY_H_
#define REUSESCOPE_ANALYSIS_CHECKPOINT_POLICY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/training_graph.h"

namespace reusescope {

struct CheckpointPolicy {
  enum class Kind : uint8_t { kNone, kBlocks, kEvery, kSqrt, kModules, kValues };
  Kind kind = Kind::kNone;
  int64_t every = 0;
  std::string modules;              // a regular expression
  std::vector<std::string> values;  // of kValues: names
};

// "none", "blocks", "every=4", "sqrt", "keep=h1\th2", else a regular expression; kInvalidArgument for neither.
absl::StatusOr<CheckpointPolicy> CheckpointPolicyFromText(absl::string_view text);
std::string CheckpointPolicyText(const CheckpointPolicy& policy);

// By value: the forward values that the policy keeps, for Recompute (transform/checkpoint.h). kInvalidArgument where no
// module matches, or the model has not a value of that name. REQUIRES: resolved types, storages assigned; kind is not
// kNone.
absl::StatusOr<std::vector<bool>> ValuesToKeep(const TrainingGraph& training, const CheckpointPolicy& policy);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_CHECKPOINT_POLICY_H_
