#include "analysis/measure/serialization_chain.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace reusescope {
namespace {

class ChainBuilder {
 public:
  ChainBuilder(const Graph& graph, const CostTable& cost, const BlockTable& blocks)
      : graph_(graph), cost_(cost), blocks_(blocks), opened_(blocks.blocks.size(), false) {}

  std::vector<ChainLink> Run(const std::function<bool(const ChainLink&)>& fits) {
    while (true) {
      std::vector<ChainLink> chain = Links();
      bool opened = false;
      for (const ChainLink& link : chain) {
        if (link.block == kNoBlock || fits(link)) continue;
        opened_[link.block] = opened = true;
      }
      if (!opened) return chain;
    }
  }

 private:
  // The outermost block around the node that is not opened.
  int32_t BlockOf(NodeId node) const {
    int32_t found = kNoBlock;
    for (int32_t b = blocks_.InnermostOf(node); b != kNoBlock; b = blocks_.blocks[b].parent) {
      if (!opened_[b])
        found = b;
      else
        break;
    }
    return found;
  }

  // The link of a forward node, made when it is first asked for.
  int LinkOf(NodeId node, std::vector<ChainLink>& chain) {
    const int32_t block = BlockOf(node);
    const auto [it, first] =
        block == kNoBlock ? of_node_.try_emplace(node, chain.size()) : of_block_.try_emplace(block, chain.size());
    if (first) {
      chain.push_back(
          {.name = block == kNoBlock ? graph_.node(node).name : blocks_.blocks[block].name, .block = block});
    }
    return static_cast<int>(it->second);
  }

  std::vector<ChainLink> Links() {
    of_node_.clear();
    of_block_.clear();
    std::vector<ChainLink> chain;
    int before = -1;
    for (int32_t k = 0; k < static_cast<int32_t>(cost_.kernels.size()); ++k) {
      const Node& node = graph_.node(cost_.kernels[k].node);
      if (node.phase == Phase::kUpdate) continue;
      const bool forward = node.phase == Phase::kForward;
      const NodeId of = forward ? cost_.kernels[k].node : node.forward_node;
      // What differentiates nothing (a seed) belongs to the link whose gradients run at the time.
      if (of != kNoNode) before = LinkOf(of, chain);
      if (before < 0) continue;
      (forward ? chain[before].forward : chain[before].backward).push_back(k);
    }
    return chain;
  }

  const Graph& graph_;
  const CostTable& cost_;
  const BlockTable& blocks_;
  std::vector<bool> opened_;
  absl::flat_hash_map<NodeId, size_t> of_node_;
  absl::flat_hash_map<int32_t, size_t> of_block_;
};

}  // namespace

std::vector<ChainLink> MakeChain(const Graph& graph, const CostTable& cost, const BlockTable& blocks,
                                 const std::function<bool(const ChainLink&)>& fits) {
  return ChainBuilder(graph, cost, blocks).Run(fits);
}

}  // namespace reusescope
