// The blocks of a model (residual, dense, branch, gated, attention), nested, with equal ones grouped.
//
//   const BlockTable blocks = FindBlocks(training.graph);
//   for (const BlockGroup& group : blocks.groups) Print(group.name, group.kind, group.count);   // "layer1" residual 3
//
// A block is a single-entry single-exit region of the forward graph: between a value that forks and the node where all
// paths from it join again, that is
//
//   exit = immediate post-dominator of entry   and   entry = immediate dominator of exit
//
// x ─ conv ─ bn ─ relu ─ conv ─ bn ─ Add      entry x, exit Add: a residual block of six nodes
//  └──────────────────────────────────┘
//
// Paths are what the model's data flows along: floating-point values that depend on a floating-point graph input, or on
// an integer one through a parameter (an embedding). Constants, parameters, shape arithmetic, masks and position biases
// are not paths; the nodes that compute them belong to the innermost block that holds all their readers.
//
// The kind is told by the exit and the paths that meet there:
//   residual   Add or Sum of paths of different length: of the entry itself and what was computed from it, or of a
//              short and a longer path with convolutions or products on them (a projection shortcut)
//   dense      Concat with the entry itself among its operands (DenseNet; the skip connections of a U-Net)
//   gated      Mul (squeeze-and-excitation, SwiGLU)
//   attention  a region that Recognize found; with the projections in front of it where these read one value
//   branch     any other join (Inception)
//
// Equal blocks are grouped: same kind, same output shapes, same operators on the paths that are not the shortcut, and
// parents of the same group. The first block of a ResNet stage, whose shortcut is a projection, so belongs to its
// stage: ResNet-50 has 16 residual blocks in groups of 3, 4, 6 and 3. Blocks of equal `signature` have equal operators,
// attributes and shapes.
//
// Not modelled: a region that a second value enters is no block (a cross-attention, which reads the encoder's output
// too; only its attention region is one). A value that leaves a block towards another output of the model than the last
// (a cache, an auxiliary head) does not break the block. Bodies of subgraphs have no blocks.
//
// Cost: O(n log n) in nodes and operands.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_BLOCKS_H_
#define REUSESCOPE_ANALYSIS_MEASURE_BLOCKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "analysis/ir/graph.h"

namespace reusescope {

enum class BlockKind : uint8_t { kResidual, kDense, kBranch, kGated, kAttention };
inline constexpr int kNumBlockKinds = 5;
absl::string_view BlockKindName(BlockKind kind);

inline constexpr int32_t kNoBlock = -1;

struct Block {
  std::string
      name;  // unique: longest common module path of its nodes, else the name of its exit; "#2" for a second one
  BlockKind kind = BlockKind::kBranch;
  ValueId entry =
      kNoValue;           // the value that forks (of several outputs of one node, the first); kNoValue: several enter
  NodeId exit = kNoNode;  // the node where the paths join; part of the block
  int32_t parent = kNoBlock;
  int32_t depth = 0;       // 0: inside no other block
  int32_t end = 0;         // blocks (this, end) of the table are nested in this one
  int32_t first_node = 0;  // into BlockTable::nodes
  int32_t num_nodes = 0;   // nested blocks' included
  uint64_t signature = 0;  // operators, attributes and output shapes of the nodes on its paths
  int32_t group = 0;       // into BlockTable::groups
};

struct BlockGroup {
  std::string name;  // common module path of its blocks ("layer1"), else the first one's name
  BlockKind kind = BlockKind::kBranch;
  int32_t first_block = 0;
  int32_t count = 0;          // blocks, over the whole model
  int32_t parent = kNoBlock;  // the group that its blocks' parents belong to, or kNoBlock
};

struct BlockTable {
  std::vector<Block> blocks;       // a block before those nested in it; otherwise by exit in schedule order
  std::vector<BlockGroup> groups;  // by first block
  std::vector<NodeId> nodes;       // of all blocks: own nodes in schedule order, then those of the nested blocks
  std::vector<int32_t> innermost;  // by NodeId of the graph: the innermost block around it, or kNoBlock

  absl::Span<const NodeId> NodesOf(const Block& block) const {
    return absl::MakeConstSpan(nodes).subspan(block.first_node, block.num_nodes);
  }
  // kNoBlock for backward and update nodes: ask for their forward_node.
  int32_t InnermostOf(NodeId node) const {
    return node < 0 || node >= static_cast<NodeId>(innermost.size()) ? kNoBlock : innermost[node];
  }
  // Is `block` equal to `outer` or nested in it?
  bool Contains(int32_t outer, int32_t block) const { return outer <= block && block < blocks[outer].end; }
  // The innermost block that contains both, or kNoBlock. Cost: their depth.
  int32_t InnermostCommon(int32_t a, int32_t b) const;
};

// REQUIRES: the schedule is topologically sorted. Only forward nodes are looked at. With unresolved shapes blocks are
// found all the same, and grouped by what is known.
BlockTable FindBlocks(const Graph& graph);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_BLOCKS_H_
