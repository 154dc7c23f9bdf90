#include "analysis/measure/blocks.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

// Parents of a tree whose vertices are added parent first; the lowest common ancestor in O(log n) by jump pointers
// (Myers 1983: every vertex has one jump, placed by depth alone).
class AncestorTree {
 public:
  explicit AncestorTree(size_t size) : parent_(size, 0), jump_(size, 0), depth_(size, 0) {}

  void SetRoot(int32_t v) { parent_[v] = jump_[v] = v; }
  void SetParent(int32_t v, int32_t parent) {
    parent_[v] = parent;
    depth_[v] = depth_[parent] + 1;
    const int32_t jump = jump_[parent];
    const bool equal_steps = depth_[parent] - depth_[jump] == depth_[jump] - depth_[jump_[jump]];
    jump_[v] = equal_steps ? jump_[jump] : parent;
  }
  int32_t parent(int32_t v) const { return parent_[v]; }
  int32_t depth(int32_t v) const { return depth_[v]; }

  int32_t CommonAncestor(int32_t a, int32_t b) const {
    if (depth_[a] < depth_[b]) std::swap(a, b);
    while (depth_[a] > depth_[b]) a = depth_[jump_[a]] >= depth_[b] ? jump_[a] : parent_[a];
    while (a != b) {
      const bool jump = jump_[a] != jump_[b];
      a = jump ? jump_[a] : parent_[a];
      b = jump ? jump_[b] : parent_[b];
    }
    return a;
  }

 private:
  std::vector<int32_t> parent_, jump_, depth_;
};

// What the model's data flows along. Vertices in topological order: 0 stands before all, then the graph inputs and the
// forward nodes on a path, and the last one stands after all.
struct PathGraph {
  struct Vertex {
    NodeId node = kNoNode;          // kNoNode for a graph input
    ValueId value = kNoValue;       // the graph input, or the first output of the node that a path goes on from
    std::vector<int32_t> from, to;  // distinct, ascending
  };
  std::vector<Vertex> vertices;
  std::vector<int32_t> vertex_of_node;  // by NodeId; -1: not on a path

  int32_t last() const { return static_cast<int32_t>(vertices.size()) - 1; }
};

class PathGraphBuilder {
 public:
  explicit PathGraphBuilder(const Graph& graph)
      : graph_(graph), from_input_(graph.values.size(), false), vertex_of_value_(graph.values.size(), -1) {}

  PathGraph Build() {
    paths_.vertex_of_node.assign(graph_.nodes.size(), -1);
    paths_.vertices.emplace_back();
    for (const ValueId input : graph_.inputs) {
      from_input_[input] = true;
      if (MayCarryPath(input)) vertex_of_value_[input] = AddVertex({.value = input});
    }
    for (const NodeId id : graph_.order) {
      if (graph_.node(id).phase == Phase::kForward) AddNode(id);
    }
    paths_.vertices.emplace_back();
    CutSideOutputs();
    return std::move(paths_);
  }

 private:
  int32_t AddVertex(PathGraph::Vertex vertex) {
    paths_.vertices.push_back(std::move(vertex));
    return paths_.last();
  }

  // A value whose content is known is no data; integers and booleans are indices and masks.
  bool MayCarryPath(ValueId id) const {
    const Value& value = graph_.value(id);
    return value.literal < 0 && (value.type.dtype == DType::kUndefined || IsFloatingPoint(value.type.dtype));
  }

  void AddNode(NodeId id) {
    const Node& node = graph_.node(id);
    bool from_input = false, reads_parameter = false;
    std::vector<int32_t> from;
    const auto read = [&](ValueId value) {
      if (value == kNoValue) return;
      from_input = from_input || from_input_[value];
      reads_parameter = reads_parameter || graph_.value(value).kind == ValueKind::kParameter;
      if (vertex_of_value_[value] >= 0) from.push_back(vertex_of_value_[value]);
    };
    for (const ValueId input : node.inputs) read(input);
    for (const ValueId capture : node.captures) read(capture);
    const bool on_path = !from.empty() || (from_input && reads_parameter);
    int32_t vertex = -1;
    for (const ValueId output : node.outputs) {
      if (output == kNoValue) continue;
      from_input_[output] = from_input && graph_.value(output).literal < 0;
      if (!on_path || !MayCarryPath(output)) continue;
      if (vertex < 0) vertex = AddVertex({.node = id, .value = output});
      vertex_of_value_[output] = vertex;
    }
    if (vertex < 0) return;
    paths_.vertex_of_node[id] = vertex;
    std::sort(from.begin(), from.end());
    from.erase(std::unique(from.begin(), from.end()), from.end());
    paths_.vertices[vertex].from = std::move(from);
  }

  // The paths end where the last vertex without readers is (the loss, the logits). What leads elsewhere only is cut off
  // from them, and stands on its own between the first and the last vertex.
  void CutSideOutputs() {
    std::vector<PathGraph::Vertex>& vertices = paths_.vertices;
    const int32_t end = paths_.last();
    std::vector<bool> reaches_end(vertices.size(), false);
    if (end > 1) reaches_end[end - 1] = true;  // nothing follows it, so nobody reads it
    for (int32_t v = end - 1; v > 0; --v) {
      for (const int32_t from : vertices[v].from) reaches_end[from] = reaches_end[from] || reaches_end[v];
    }
    for (int32_t v = 1; v < end; ++v) {
      std::vector<int32_t>& from = vertices[v].from;
      if (!reaches_end[v]) {
        from.erase(std::remove_if(from.begin(), from.end(), [&](int32_t f) { return reaches_end[f]; }), from.end());
      }
      if (from.empty()) from.push_back(0);
      for (const int32_t f : from) vertices[f].to.push_back(v);
    }
    for (int32_t v = 0; v < end; ++v) {
      if (vertices[v].to.empty()) {
        vertices[v].to.push_back(end);
        vertices[end].from.push_back(v);
      }
    }
  }

  const Graph& graph_;
  std::vector<bool> from_input_;          // depends on what is fed into the model
  std::vector<int32_t> vertex_of_value_;  // -1: not on a path
  PathGraph paths_;
};

// Immediate dominators: in topological order, the common ancestor of all predecessors (Cooper, Harvey, Kennedy 2001; on
// a graph without cycles one round is enough).
AncestorTree Dominators(const PathGraph& paths) {
  AncestorTree tree(paths.vertices.size());
  tree.SetRoot(0);
  for (int32_t v = 1; v <= paths.last(); ++v) {
    const std::vector<int32_t>& from = paths.vertices[v].from;
    int32_t common = from[0];
    for (const int32_t f : from) common = tree.CommonAncestor(common, f);
    tree.SetParent(v, common);
  }
  return tree;
}

AncestorTree PostDominators(const PathGraph& paths) {
  AncestorTree tree(paths.vertices.size());
  tree.SetRoot(paths.last());
  for (int32_t v = paths.last() - 1; v >= 0; --v) {
    const std::vector<int32_t>& to = paths.vertices[v].to;
    int32_t common = to[0];
    for (const int32_t t : to) common = tree.CommonAncestor(common, t);
    tree.SetParent(v, common);
  }
  return tree;
}

bool IsOperator(const Node& node, absl::string_view type) { return node.op.domain.empty() && node.op.type == type; }

// FNV-1a: equal in every process, unlike absl::Hash.
class Hash {
 public:
  void Add(absl::string_view text) {
    for (const char c : text) AddByte(static_cast<uint8_t>(c));
    AddByte(0);
  }
  void Add(uint64_t number) {
    for (int i = 0; i < 8; ++i) AddByte(static_cast<uint8_t>(number >> (8 * i)));
  }
  uint64_t value() const { return value_; }

 private:
  void AddByte(uint8_t byte) { value_ = (value_ ^ byte) * 1099511628211u; }
  uint64_t value_ = 14695981039346656037u;
};

// A block while the table is being made; ids are in order of discovery.
struct Draft {
  Block block;
  std::vector<int32_t> children;  // by exit in schedule order
  std::vector<NodeId> own_nodes;  // those that are in no nested block, in schedule order
  std::string module;             // longest common module path
  bool has_module = false;
  uint64_t body = 0;  // operators that are not on the shortcut
};

// "layer1.0" and "layer1.2.conv1" have "layer1" in common.
std::string CommonModule(absl::string_view a, absl::string_view b) {
  size_t end = 0;
  for (size_t i = 0;; ++i) {
    const bool a_ends = i == a.size() || a[i] == '.', b_ends = i == b.size() || b[i] == '.';
    if (a_ends && b_ends) end = i;
    if (i == a.size() || i == b.size() || a[i] != b[i]) break;
  }
  return std::string(a.substr(0, end));
}

class BlockFinder {
 public:
  explicit BlockFinder(const Graph& graph)
      : graph_(graph),
        paths_(PathGraphBuilder(graph).Build()),
        dominators_(Dominators(paths_)),
        shortcut_of_(graph.nodes.size(), kNoBlock),
        position_(graph.nodes.size(), 0) {
    for (size_t i = 0; i < graph.order.size(); ++i) position_[graph.order[i]] = static_cast<int32_t>(i);
    innermost_.assign(graph.nodes.size(), kNoBlock);
  }

  BlockTable Find() {
    FindRegions();
    PlaceOtherNodes();
    AddAttentions();
    CollectNodes();
    for (auto it = preorder_.rbegin(); it != preorder_.rend(); ++it) Describe(*it);
    BlockTable table = Arrange();
    NameBlocks(table);
    Group(table);
    return table;
  }

 private:
  // A vertex u opens a block that j closes if j is u's immediate post-dominator and u is j's immediate dominator. Every
  // vertex right below u in the dominator tree is then inside; below any other vertex d, what d is in goes on, or what
  // is around it if d closes a block. At most one block opens and one closes at a vertex.
  void FindRegions() {
    const AncestorTree post_dominators = PostDominators(paths_);
    const auto size = paths_.vertices.size();
    std::vector<int32_t> inside(size, kNoBlock), opens(size, kNoBlock), closes(size, kNoBlock);
    for (int32_t v = 1; v < paths_.last(); ++v) {
      const auto after = [&](int32_t d) { return closes[d] == kNoBlock ? inside[d] : drafts_[closes[d]].block.parent; };
      const int32_t dominator = dominators_.parent(v);
      inside[v] = opens[dominator] != kNoBlock ? opens[dominator] : after(dominator);
      if (paths_.vertices[v].node != kNoNode) innermost_[paths_.vertices[v].node] = inside[v];
      const int32_t join = post_dominators.parent(v);
      if (paths_.vertices[v].to.size() < 2 || join == paths_.last() || dominators_.parent(join) != v) continue;
      opens[v] = closes[join] = AddRegion(v, join, after(v));
    }
  }

  int32_t AddRegion(int32_t fork, int32_t join, int32_t parent) {
    const NodeId exit = paths_.vertices[join].node;
    const int32_t id = AddDraft(KindOf(fork, join), exit, parent);
    drafts_[id].block.entry = paths_.vertices[fork].value;
    if (drafts_[id].block.kind == BlockKind::kResidual) MarkShortcut(fork, join, id);
    return id;
  }

  int32_t AddDraft(BlockKind kind, NodeId exit, int32_t parent) {
    const auto id = static_cast<int32_t>(drafts_.size());
    Draft draft;
    draft.block.kind = kind;
    draft.block.exit = exit;
    draft.block.parent = parent;
    drafts_.push_back(std::move(draft));
    return id;
  }

  // Length of the path that ends in `v`: nodes that everything from the fork to v passes through.
  int32_t PathLength(int32_t fork, int32_t v) const { return dominators_.depth(v) - dominators_.depth(fork); }

  BlockKind KindOf(int32_t fork, int32_t join) const {
    const Node& exit = graph_.node(paths_.vertices[join].node);
    const std::vector<int32_t>& ends = paths_.vertices[join].from;
    if (IsOperator(exit, "Mul")) return BlockKind::kGated;
    if (IsOperator(exit, "Concat") && ends.front() == fork) return BlockKind::kDense;
    if (!IsOperator(exit, "Add") && !IsOperator(exit, "Sum")) return BlockKind::kBranch;
    const bool equal = std::all_of(ends.begin(), ends.end(),
                                   [&](int32_t v) { return PathLength(fork, v) == PathLength(fork, ends[0]); });
    const bool residual = !equal && (ends.front() == fork || HasContraction(fork, ends));
    return residual ? BlockKind::kResidual : BlockKind::kBranch;
  }

  // Is there a convolution or a product that everything on one of the paths passes through?
  bool HasContraction(int32_t fork, absl::Span<const int32_t> ends) const {
    for (const int32_t end : ends) {
      for (int32_t v = end; v != fork; v = dominators_.parent(v)) {
        const OpSemantics* semantics = OpRegistry::Get().Find(graph_.node(paths_.vertices[v].node).op);
        if (semantics != nullptr && semantics->contraction) return true;
      }
    }
    return false;
  }

  // The shortcut of a residual block is its shortest path; here, what everything on it passes through.
  void MarkShortcut(int32_t fork, int32_t join, int32_t block) {
    const std::vector<int32_t>& ends = paths_.vertices[join].from;
    int32_t v = *std::min_element(ends.begin(), ends.end(),
                                  [&](int32_t a, int32_t b) { return PathLength(fork, a) < PathLength(fork, b); });
    for (; v != fork; v = dominators_.parent(v)) shortcut_of_[paths_.vertices[v].node] = block;
  }

  // Forward nodes that are not on a path: in the innermost block around all their readers.
  void PlaceOtherNodes() {
    const Uses uses(graph_);
    AncestorTree tree(drafts_.size() + 1);  // 0: no block
    tree.SetRoot(0);
    for (size_t i = 0; i < drafts_.size(); ++i) {
      tree.SetParent(static_cast<int32_t>(i) + 1, drafts_[i].block.parent + 1);
    }
    for (auto it = graph_.order.rbegin(); it != graph_.order.rend(); ++it) {
      const Node& node = graph_.node(*it);
      if (node.phase != Phase::kForward || paths_.vertex_of_node[*it] >= 0) continue;
      int32_t common = -1;
      for (const ValueId output : node.outputs) {
        if (output == kNoValue) continue;
        for (const NodeId reader : uses.of(output)) {
          if (graph_.node(reader).phase != Phase::kForward) continue;
          common = common < 0 ? innermost_[reader] + 1 : tree.CommonAncestor(common, innermost_[reader] + 1);
        }
      }
      innermost_[*it] = std::max(common, 0) - 1;
    }
  }

  // The innermost block around all nodes of the region. REQUIRES: no attention block was added yet, for up to then a
  // block has a larger id than those around it.
  int32_t BlockAround(absl::Span<const NodeId> nodes) const {
    int32_t around = innermost_[nodes[0]];
    for (const NodeId node : nodes) {
      int32_t other = innermost_[node];
      while (around != other) {
        int32_t& inner = around > other ? around : other;
        inner = drafts_[inner].block.parent;
      }
    }
    return around;
  }

  void AddAttentions() {
    std::vector<std::vector<NodeId>> regions;
    std::vector<int32_t> around;
    for (const Region& region : graph_.regions) {
      if (region.kind != BlockKindName(BlockKind::kAttention)) continue;
      std::vector<NodeId> nodes;
      for (const NodeId node : region.nodes) {
        if (paths_.vertex_of_node[node] >= 0) nodes.push_back(node);
      }
      if (nodes.empty()) continue;
      std::sort(nodes.begin(), nodes.end(), [&](NodeId a, NodeId b) { return position_[a] < position_[b]; });
      around.push_back(BlockAround(nodes));
      regions.push_back(std::move(nodes));
    }
    for (size_t i = 0; i < regions.size(); ++i) AddAttention(regions[i], around[i]);
  }

  // A block whose exit is in the region is the attention, projections included; else the region becomes a block, and
  // blocks that have nodes of it are nested in it.
  void AddAttention(absl::Span<const NodeId> nodes, int32_t around) {
    if (around != kNoBlock && drafts_[around].block.exit == nodes.back()) {
      drafts_[around].block.kind = BlockKind::kAttention;
      return;
    }
    const int32_t id = AddDraft(BlockKind::kAttention, nodes.back(), around);
    for (const NodeId node : nodes) {
      if (innermost_[node] == around) innermost_[node] = id;
      int32_t nested = innermost_[node];
      while (nested != id && drafts_[nested].block.parent != around) nested = drafts_[nested].block.parent;
      if (nested != id) drafts_[nested].block.parent = id;
    }
  }

  // Gives every draft its nodes and children, and finds the order in which a block stands before those nested in it.
  void CollectNodes() {
    for (const NodeId id : graph_.order) {
      if (innermost_[id] != kNoBlock) drafts_[innermost_[id]].own_nodes.push_back(id);
    }
    std::vector<int32_t> by_exit(drafts_.size());
    std::iota(by_exit.begin(), by_exit.end(), 0);
    std::sort(by_exit.begin(), by_exit.end(), [&](int32_t a, int32_t b) {
      return position_[drafts_[a].block.exit] < position_[drafts_[b].block.exit];
    });
    std::vector<int32_t> pending;  // from the back: what comes next
    for (const int32_t id : by_exit) {
      const int32_t parent = drafts_[id].block.parent;
      (parent == kNoBlock ? pending : drafts_[parent].children).push_back(id);
    }
    std::reverse(pending.begin(), pending.end());
    while (!pending.empty()) {
      const int32_t id = pending.back();
      pending.pop_back();
      preorder_.push_back(id);
      pending.insert(pending.end(), drafts_[id].children.rbegin(), drafts_[id].children.rend());
    }
  }

  // Module, signature and body, from the block's own nodes and its children's. REQUIRES: the children are described.
  void Describe(int32_t self) {
    Draft& draft = drafts_[self];
    Hash signature, body;
    for (const NodeId id : draft.own_nodes) {
      if (paths_.vertex_of_node[id] < 0) continue;
      const Node& node = graph_.node(id);
      AddModule(node.module, draft);
      signature.Add(OpKeyString(node.op));
      signature.Add(AttributesString(node.attributes));
      for (const ValueId output : node.outputs) {
        if (output != kNoValue) signature.Add(TypeString(graph_.value(output).type));
      }
      if (shortcut_of_[id] != self) body.Add(OpKeyString(node.op));
    }
    for (const int32_t id : draft.children) {
      const Draft& child = drafts_[id];
      AddModule(child.module, draft);
      signature.Add(child.block.signature);
      body.Add(child.body);
    }
    draft.block.signature = signature.value();
    draft.body = body.value();
  }

  static void AddModule(absl::string_view module, Draft& draft) {
    if (module.empty()) return;
    draft.module = draft.has_module ? CommonModule(draft.module, module) : std::string(module);
    draft.has_module = true;
  }

  // The table's blocks, in preorder, with their nodes.
  BlockTable Arrange() const {
    BlockTable table;
    std::vector<int32_t> new_id(drafts_.size());
    for (size_t i = 0; i < preorder_.size(); ++i) new_id[preorder_[i]] = static_cast<int32_t>(i);
    for (const int32_t id : preorder_) {
      Block block = drafts_[id].block;
      if (block.parent != kNoBlock) {
        block.parent = new_id[block.parent];
        block.depth = table.blocks[block.parent].depth + 1;
      }
      block.first_node = static_cast<int32_t>(table.nodes.size());
      table.nodes.insert(table.nodes.end(), drafts_[id].own_nodes.begin(), drafts_[id].own_nodes.end());
      table.blocks.push_back(std::move(block));
    }
    // The end of a block is where its last nested one ends.
    std::vector<int32_t> nodes_end(preorder_.size());
    for (int32_t i = static_cast<int32_t>(preorder_.size()) - 1; i >= 0; --i) {
      Block& block = table.blocks[i];
      const auto own = static_cast<int32_t>(drafts_[preorder_[i]].own_nodes.size());
      block.end = std::max(block.end, i + 1);
      block.num_nodes = std::max(nodes_end[i], block.first_node + own) - block.first_node;
      if (block.parent == kNoBlock) continue;
      table.blocks[block.parent].end = std::max(table.blocks[block.parent].end, block.end);
      nodes_end[block.parent] = std::max(nodes_end[block.parent], block.first_node + block.num_nodes);
    }
    table.innermost.reserve(innermost_.size());
    for (const int32_t id : innermost_) table.innermost.push_back(id == kNoBlock ? kNoBlock : new_id[id]);
    return table;
  }

  void NameBlocks(BlockTable& table) const {
    absl::flat_hash_map<std::string, int> seen;
    for (size_t i = 0; i < preorder_.size(); ++i) {
      const Draft& draft = drafts_[preorder_[i]];
      std::string name = draft.module.empty() ? graph_.node(draft.block.exit).name : draft.module;
      const int count = ++seen[name];
      table.blocks[i].name = count == 1 ? std::move(name) : absl::StrCat(name, "#", count);
    }
  }

  void Group(BlockTable& table) const {
    absl::flat_hash_map<std::string, int32_t> group_of;
    std::vector<std::string> modules, last_names;  // by group
    for (size_t i = 0; i < preorder_.size(); ++i) {
      Block& block = table.blocks[i];
      const Draft& draft = drafts_[preorder_[i]];
      const int32_t parent = block.parent == kNoBlock ? kNoBlock : table.blocks[block.parent].group;
      std::string key = absl::StrCat(BlockKindName(block.kind), " ", draft.body, " ", parent);
      for (const ValueId output : graph_.node(block.exit).outputs) {
        if (output != kNoValue) absl::StrAppend(&key, " ", TypeString(graph_.value(output).type));
      }
      const auto [it, is_new] = group_of.try_emplace(std::move(key), static_cast<int32_t>(table.groups.size()));
      block.group = it->second;
      if (is_new) {
        table.groups.push_back(
            {.name = block.name, .kind = block.kind, .first_block = static_cast<int32_t>(i), .parent = parent});
        modules.push_back(draft.module);
        last_names.emplace_back();
      }
      modules[block.group] = CommonModule(modules[block.group], draft.module);
      last_names[block.group] = block.name;
      ++table.groups[block.group].count;
    }
    NameGroups(modules, last_names, table);
  }

  // By what only its blocks have in common ("layer1"), else by its first and last block.
  static void NameGroups(const std::vector<std::string>& modules, const std::vector<std::string>& last_names,
                         BlockTable& table) {
    absl::flat_hash_map<absl::string_view, int> groups_with;
    for (const std::string& module : modules) ++groups_with[module];
    for (size_t g = 0; g < table.groups.size(); ++g) {
      BlockGroup& group = table.groups[g];
      if (group.count == 1) continue;
      const bool own_module = !modules[g].empty() && groups_with[modules[g]] == 1;
      group.name = own_module ? modules[g] : absl::StrCat(group.name, " .. ", last_names[g]);
    }
  }

  const Graph& graph_;
  const PathGraph paths_;
  const AncestorTree dominators_;
  std::vector<int32_t> shortcut_of_;  // by NodeId: the residual block whose shortcut it is on
  std::vector<int32_t> position_;     // by NodeId: in the schedule
  std::vector<int32_t> innermost_;    // by NodeId
  std::vector<Draft> drafts_;
  std::vector<int32_t> preorder_;
};

}  // namespace

absl::string_view BlockKindName(BlockKind kind) {
  constexpr std::array<absl::string_view, kNumBlockKinds> kNames = {"residual", "dense", "branch", "gated",
                                                                    "attention"};
  return kNames[static_cast<int>(kind)];
}

int32_t BlockTable::InnermostCommon(int32_t a, int32_t b) const {
  while (a != b) {  // a nested block stands behind those around it
    int32_t& inner = a > b ? a : b;
    inner = blocks[inner].parent;
  }
  return a;
}

BlockTable FindBlocks(const Graph& graph) { return BlockFinder(graph).Find(); }

}  // namespace reusescope
