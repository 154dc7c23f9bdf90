// What the two files of com.microsoft attentions share: heads, past keys, groups of query heads.

#ifndef REUSESCOPE_ANALYSIS_OPS_CONTRIB_ATTENTION_H_
#define REUSESCOPE_ANALYSIS_OPS_CONTRIB_ATTENTION_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

// The number of heads that attribute `name` gives; at least 1.
int64_t Heads(const OpContext& ctx, absl::string_view name = "num_heads");

// Rows of the past keys on input `slot`, [.., rows, size]; 0 where there are none.
int64_t PastLength(const OpContext& ctx, int slot);

struct GroupShape {
  int64_t batch, queries, q_heads, kv_heads, head_size, keys;
  bool packed;  // query holds key and value as well
};

// Of GroupQueryAttention and what is made like it; `total_slot` is the input that holds the number of keys. An error
// names the query that does not divide into heads.
absl::StatusOr<GroupShape> GroupShapeOf(const OpContext& ctx, int total_slot = 6);

// Every one of `tokens` queries against `keys`, over heads of `width` together.
struct AttendedKeys {
  int64_t tokens, keys, width;
};
// One kernel: `macs` of projections, then the attention: softmax 4 FLOPs and 2 transcendentals a score.
absl::StatusOr<Kernel> ProjectedAttentionKernel(const OpContext& ctx, const AttendedKeys& attended, int64_t macs);
// Keys that a token sees through attribute `window`, to both sides and itself. REQUIRES: input 0 is [B, S, ..].
int64_t WindowOf(const OpContext& ctx);

// The attentions that stay one kernel (contrib_attention_kernels.cc).
void RegisterFusedAttention(OpRegistry& registry);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_CONTRIB_ATTENTION_H_
