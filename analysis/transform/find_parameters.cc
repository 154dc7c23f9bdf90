#include "analysis/transform/find_parameters.h"

#include <algorithm>
#include <regex>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

// How far back a value is followed through views, and how many readers of a stored tensor and of its views are looked
// at: bounds, so that the cost stays linear.
constexpr int kMaxViews = 6;
constexpr int kMaxReaders = 64;

// Names that exporters make up for what the model does not name: "onnx::MatMul_1234", "val_12", "497",
// "/encoder/Constant_3_output_0", "const_fold_opt__12".
bool IsAnonymous(absl::string_view name) {
  if (absl::StartsWith(name, "/") || absl::StrContains(name, "::") || absl::StrContains(name, "onstant_")) return true;
  for (absl::string_view prefix : {"val_", "const_", "Const_", "const__", "Const__"}) {
    if (absl::StartsWith(name, prefix)) return true;
  }
  return std::all_of(name.begin(), name.end(), absl::ascii_isdigit);
}

// Buffers that models register under these names: the last part of a dotted name.
bool IsBufferName(absl::string_view name) {
  static constexpr absl::string_view kNames[] = {"running_mean",
                                                 "running_var",
                                                 "moving_mean",
                                                 "moving_variance",
                                                 "num_batches_tracked",
                                                 "inv_freq",
                                                 "freqs",
                                                 "freqs_cis",
                                                 "cos",
                                                 "sin",
                                                 "cos_cached",
                                                 "sin_cached",
                                                 "mean",
                                                 "std",
                                                 "pixel_mean",
                                                 "pixel_std",
                                                 "image_mean",
                                                 "image_std",
                                                 "anchors",
                                                 "anchor_points",
                                                 "strides",
                                                 "window",
                                                 "filterbank",
                                                 "fb",
                                                 "pe",
                                                 "masked_bias"};
  const absl::string_view last = name.substr(name.find_last_of("./") + 1);
  return std::find(std::begin(kNames), std::end(kNames), last) != std::end(kNames) ||
         absl::StrContains(absl::AsciiStrToLower(last), "mask");
}

// At most one dimension is above 1, and that one is: biases, scales, slopes.
bool IsVector(const Type& type) {
  const auto above_one = std::count_if(type.shape.begin(), type.shape.end(), [](int64_t dim) { return dim > 1; });
  return type.rank() >= 1 && above_one <= 1;
}

// Zeros and minus infinity, in whatever number stands for it.
bool LooksLikeMask(const Literal* literal) {
  return literal != nullptr && literal->has_data &&
         std::any_of(literal->floats.begin(), literal->floats.end(), [](double x) { return x <= -1e4; });
}

bool IsUniform(const Literal* literal) {
  return literal != nullptr && literal->has_data && !literal->floats.empty() &&
         std::all_of(literal->floats.begin(), literal->floats.end(), [&](double x) { return x == literal->floats[0]; });
}

std::string Owner(absl::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == absl::string_view::npos ? "" : std::string(name.substr(0, dot));
}

// Whether one module is the other or contains it: a module reads what its submodules own as well as its own.
bool AreRelated(absl::string_view a, absl::string_view b) {
  if (a.size() > b.size()) std::swap(a, b);
  return a.empty() || (absl::StartsWith(b, a) && (a.size() == b.size() || b[a.size()] == '.'));
}

class Finder {
 public:
  Finder(Graph& graph, std::vector<std::string>& notes) : graph_(graph), notes_(notes), uses_(graph) {}

  absl::Status Run(const ParameterOptions& options) {
    MarkDifferentiable();
    NoteFoldedBatchNorm();
    Classify();
    DetachConstantNodes();
    SeparateMergedVectors();
    TieTransposedCopies();
    return Overrule(options);
  }

 private:
  void MarkDifferentiable();
  void MarkChosenFrom();
  void MarkInputs(const Node& node);
  void NoteFoldedBatchNorm();
  void Classify();
  bool IsCandidate(ValueId id) const;
  bool IsWeight(ValueId id) const;
  bool IsTakenAsWeight(ValueId id, int& readers_left) const;
  bool IsWeightOperand(NodeId reader, ValueId id) const;
  bool ComesFromContraction(ValueId id) const;
  bool MultipliesPositions(const Node& node, ValueId id) const;
  void DetachConstantNodes();
  void DropNodes();
  void SeparateMergedVectors();
  void ReplaceIdentitiesOf(ValueId id);
  void SeparateByModule(ValueId id);
  ValueId CloneParameter(ValueId id, const std::string& name);
  void TieNamedCopies();
  void TieTransposedCopies();
  void Tie(ValueId copy, ValueId table);
  absl::Status Overrule(const ParameterOptions& options);

  bool IsInitializer(ValueId id) const {
    return graph_.value(id).producer == kNoNode && graph_.value(id).kind != ValueKind::kInput && !outer_.contains(id);
  }
  const OpSemantics* SemanticsOf(const Node& node) const { return OpRegistry::Get().Find(node.op); }
  std::vector<ValueId> Parameters() const;

  Graph& graph_;
  std::vector<std::string>& notes_;
  const Uses uses_;  // of the graph as it came
  absl::flat_hash_set<ValueId> outer_;
  std::vector<bool> differentiable_;  // by value: on a path with gradients, back from a floating-point output
  std::vector<bool> dropped_;         // nodes that leave the schedule
  absl::flat_hash_map<NodeId, NodeId> transposes_;  // by the one reader of a tied copy: the Transpose that makes it
  int merged_ = 0;
  int separated_ = 0;
};

void Finder::MarkInputs(const Node& node) {
  const OpSemantics* semantics = SemanticsOf(node);
  if (semantics != nullptr && !semantics->not_differentiable.empty()) return;
  const uint32_t mask = semantics == nullptr ? ~0u : semantics->differentiable_inputs;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId input = node.inputs[i];
    if (input == kNoValue || !IsFloatingPoint(graph_.value(input).type.dtype)) continue;
    // Operands from 31 on are the tail of a variadic operator; they are alike.
    if ((mask >> std::min<size_t>(i, 31) & 1u) != 0) differentiable_[input] = true;
  }
  for (ValueId capture : node.captures) {
    if (IsFloatingPoint(graph_.value(capture).type.dtype)) differentiable_[capture] = true;
  }
}

// A model that hands out labels alone: what they are chosen from stands for its output.
void Finder::MarkChosenFrom() {
  std::vector<bool> handed_out(graph_.values.size(), false);
  for (ValueId output : graph_.outputs) {
    if (output != kNoValue) handed_out[output] = true;
  }
  for (auto it = graph_.order.rbegin(); it != graph_.order.rend(); ++it) {
    const Node& node = graph_.node(*it);
    const bool live = std::any_of(node.outputs.begin(), node.outputs.end(),
                                  [&](ValueId id) { return id != kNoValue && handed_out[id]; });
    if (!live) continue;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId input = node.inputs[i];
      if (input == kNoValue) continue;
      const bool numbers = IsFloatingPoint(graph_.value(input).type.dtype);
      if (!numbers) handed_out[input] = true;
      if (numbers && i == 0) differentiable_[input] = true;
    }
  }
}

void Finder::MarkDifferentiable() {
  outer_.insert(graph_.captured.begin(), graph_.captured.end());
  outer_.insert(graph_.inputs.begin(), graph_.inputs.end());
  dropped_.assign(graph_.nodes.size(), false);
  differentiable_.assign(graph_.values.size(), false);
  for (ValueId output : graph_.outputs) {
    if (output != kNoValue && IsFloatingPoint(graph_.value(output).type.dtype)) differentiable_[output] = true;
  }
  const bool labels_alone = std::none_of(graph_.outputs.begin(), graph_.outputs.end(), [&](ValueId id) {
    return id != kNoValue && graph_.value(id).type.IsTensor() && IsFloatingPoint(graph_.value(id).type.dtype);
  });
  if (labels_alone) MarkChosenFrom();
  for (auto it = graph_.order.rbegin(); it != graph_.order.rend(); ++it) {
    const Node& node = graph_.node(*it);
    const bool live = std::any_of(node.outputs.begin(), node.outputs.end(),
                                  [&](ValueId id) { return id != kNoValue && differentiable_[id]; });
    if (live) MarkInputs(node);
  }
}

bool Finder::IsCandidate(ValueId id) const {
  const Value& value = graph_.value(id);
  if (!differentiable_[id] || value.type.rank() == 0 || !IsFloatingPoint(value.type.dtype)) return false;
  if (value.producer == kNoNode) return IsInitializer(id);
  const Node& node = graph_.node(value.producer);
  return node.op.type == "Constant" && node.op.domain.empty();
}

// Whether the node that makes `id` is, behind views, a contraction: then a vector beside it is a bias or a scale per
// channel.
bool Finder::ComesFromContraction(ValueId id) const {
  for (int i = 0; i < kMaxViews && id != kNoValue; ++i) {
    const NodeId producer = graph_.value(id).producer;
    if (producer == kNoNode) return false;
    const OpSemantics* semantics = SemanticsOf(graph_.node(producer));
    if (semantics != nullptr && semantics->contraction) return true;
    if (AliasingOf(graph_, producer) == Aliasing::kNone) return false;
    id = graph_.node(producer).inputs[0];
  }
  return false;
}

// Frequencies times positions: an outer product whose other operand, behind views, was an integer. Rotary embedding is
// computed so, and exporters name the frequencies anew.
bool Finder::MultipliesPositions(const Node& node, ValueId id) const {
  if (node.inputs.size() != 2) return false;
  const bool left = node.inputs[0] == id;
  const Shape& shape = graph_.value(id).type.shape;
  if (shape.size() < 2 || shape[shape.size() - (left ? 1 : 2)] != 1) return false;
  ValueId other = node.inputs[left ? 1 : 0];
  for (int i = 0; i < kMaxViews && other != kNoValue; ++i) {
    if (IsInteger(graph_.value(other).type.dtype)) return true;
    const NodeId producer = graph_.value(other).producer;
    if (producer == kNoNode || graph_.node(producer).inputs.empty()) return false;
    const bool view = AliasingOf(graph_, producer) != Aliasing::kNone;
    other = graph_.node(producer).inputs[0];
    if (!view) return other != kNoValue && IsInteger(graph_.value(other).type.dtype);
  }
  return false;
}

// Whether `reader` takes `id` where models have weights, whatever its name.
bool Finder::IsWeightOperand(NodeId reader, ValueId id) const {
  const Node& node = graph_.node(reader);
  const OpSemantics* semantics = SemanticsOf(node);
  if (semantics == nullptr) return false;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const bool per_sample = (semantics->batched_inputs >> std::min<size_t>(i, 31) & 1u) != 0;
    const Literal* literal = graph_.literal(id);
    const bool varied = literal != nullptr && literal->has_data && !IsUniform(literal);  // a state that was learned
    if (node.inputs[i] == id && per_sample && !varied) return false;
  }
  if (semantics->contraction) return !MultipliesPositions(node, id);
  if (semantics->kernel == ElementwiseKernel) {
    const bool bias_place = node.inputs.size() == 2 && IsVector(graph_.value(id).type) &&
                            ElementCount(graph_.value(id).type.shape).value_or(0) > 1;
    return bias_place && ComesFromContraction(node.inputs[node.inputs[0] == id ? 1 : 0]);
  }
  if (semantics->kernel == CopyKernel) {  // a table, if what is looked up is not known beforehand
    const bool looked_up = node.inputs.size() == 2 && node.inputs[0] == id &&
                           graph_.literal(node.inputs[1]) == nullptr &&
                           IsInteger(graph_.value(node.inputs[1]).type.dtype);
    const bool named = !graph_.value(id).original_name.empty();
    return looked_up && (graph_.value(id).type.rank() == 2 || named);
  }
  return true;  // scales of normalizations, weights of recurrences: operands with gradients that nothing else is
}

bool Finder::IsTakenAsWeight(ValueId id, int& readers_left) const {
  for (NodeId reader : uses_.of(id)) {
    if (readers_left-- <= 0) return false;
    if (AliasingOf(graph_, reader) == Aliasing::kNone) {
      if (IsWeightOperand(reader, id)) return true;
    } else if (graph_.node(reader).inputs[0] == id) {
      for (ValueId output : graph_.node(reader).outputs) {
        if (output != kNoValue && IsTakenAsWeight(output, readers_left)) return true;
      }
    }
  }
  return false;
}

// REQUIRES: IsCandidate(id), and the file does not say.
bool Finder::IsWeight(ValueId id) const {
  const Value& value = graph_.value(id);
  const Literal* literal = graph_.literal(id);
  // The name that the model has for it, where the exporter gave a folded tensor one of its own.
  const std::string& name = value.original_name.empty() ? value.name : value.original_name;
  if (IsBufferName(name) || LooksLikeMask(literal)) return false;
  // Exporters write the scale 1 and shift 0 of a norm without parameters as Constant nodes; a zero initial state of a
  // recurrence so too, or stored under a name of their own.
  if (value.producer != kNoNode && IsUniform(literal)) return false;
  const bool state = value.type.rank() > 1 && IsAnonymous(value.name) && IsUniform(literal) && literal->floats[0] == 0;
  if (state) return false;
  if (value.producer == kNoNode && !IsAnonymous(value.name)) return true;
  int readers_left = kMaxReaders;
  return IsTakenAsWeight(id, readers_left);
}

void Finder::Classify() {
  const auto count = static_cast<ValueId>(graph_.values.size());
  for (ValueId id = 0; id < count; ++id) {
    Value& value = graph_.value(id);
    if (value.evidence != KindEvidence::kNone) continue;
    if (IsCandidate(id) && IsWeight(id)) {
      value.kind = ValueKind::kParameter;
      if (value.original_name.empty() && !IsAnonymous(value.name)) value.original_name = value.name;
    } else if (IsInitializer(id) && value.kind != ValueKind::kActivation) {
      const bool stored = IsFloatingPoint(value.type.dtype) && value.type.rank() > 0 && !IsAnonymous(value.name);
      value.kind = stored ? ValueKind::kBuffer : ValueKind::kConstant;
    }
  }
}

void Finder::DropNodes() {
  graph_.order.erase(std::remove_if(graph_.order.begin(), graph_.order.end(), [&](NodeId id) { return dropped_[id]; }),
                     graph_.order.end());
}

void Finder::DetachConstantNodes() {
  for (NodeId id : graph_.order) {
    const Node& node = graph_.node(id);
    if (node.inputs.empty() && node.outputs.size() == 1 && node.outputs[0] != kNoValue &&
        graph_.value(node.outputs[0]).kind == ValueKind::kParameter) {
      graph_.value(node.outputs[0]).producer = kNoNode;
      dropped_[id] = true;
    }
  }
  DropNodes();
}

std::vector<ValueId> Finder::Parameters() const {
  std::vector<ValueId> parameters;
  for (size_t i = 0; i < graph_.values.size(); ++i) {
    const auto id = static_cast<ValueId>(i);
    if (graph_.value(id).kind == ValueKind::kParameter && !outer_.contains(id)) parameters.push_back(id);
  }
  return parameters;
}

ValueId Finder::CloneParameter(ValueId id, const std::string& name) {
  const Type type = graph_.value(id).type;
  const ValueId clone = graph_.AddValue(name, type, ValueKind::kParameter);
  graph_.value(clone).original_name = name;
  graph_.value(clone).payload_of = graph_.value(id).name;
  graph_.value(clone).evidence = graph_.value(id).evidence;
  ++separated_;
  return clone;
}

// The TorchScript exporter writes an Identity of the stored tensor for every other one that was equal to it.
void Finder::ReplaceIdentitiesOf(ValueId id) {
  for (NodeId reader : uses_.of(id)) {
    const Node& node = graph_.node(reader);
    if (node.op.type != "Identity" || !node.op.domain.empty() || node.outputs.empty()) continue;
    Value& copy = graph_.value(node.outputs[0]);
    copy.kind = ValueKind::kParameter;
    copy.payload_of = graph_.value(id).name;
    copy.producer = kNoNode;
    dropped_[reader] = true;
    ++separated_;
  }
}

// The newer exporter lets every module read the one tensor: those that have nothing to do with its own get one each.
void Finder::SeparateByModule(ValueId id) {
  const std::string name = graph_.value(id).original_name;
  const std::string owner = Owner(name);
  const auto readers = uses_.of(id);
  const bool shared = std::any_of(readers.begin(), readers.end(), [&](NodeId reader) {
    return graph_.node(reader).module != graph_.node(readers[0]).module;
  });
  if (owner.empty() || !shared) return;              // a module may read what another owns: parametrizations
  absl::flat_hash_map<std::string, ValueId> clones;  // by module and operand
  for (NodeId reader : uses_.of(id)) {
    Node& node = graph_.node(reader);
    if (AreRelated(node.module, owner)) continue;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] != id) continue;
      const auto [it, added] = clones.try_emplace(absl::StrCat(node.module, "#", i), kNoValue);
      if (added) it->second = CloneParameter(id, absl::StrCat(node.module, name.substr(name.rfind('.'))));
      graph_.node(reader).inputs[i] = it->second;
    }
  }
}

void Finder::SeparateMergedVectors() {
  for (ValueId id : Parameters()) {
    if (!IsVector(graph_.value(id).type)) continue;
    const int before = separated_;
    ReplaceIdentitiesOf(id);
    SeparateByModule(id);
    merged_ += separated_ > before ? 1 : 0;
  }
  DropNodes();
  if (separated_ > 0) {
    notes_.push_back(absl::StrCat("the exporter merged equal vectors: ", merged_, " stored ones stand for ",
                                  merged_ + separated_, " parameters, which are counted apart"));
  }
}

// From now on `copy` is computed: the Transpose of `table`. It is scheduled by TieTransposedCopies.
void Finder::Tie(ValueId copy, ValueId table) {
  const NodeId reader = uses_.of(copy)[0];
  Node node;
  const auto opset = graph_.opsets.find("");
  node.op = {.type = "Transpose", .since_version = opset != graph_.opsets.end() && opset->second < 13 ? 1 : 13};
  node.inputs = {table};
  node.outputs = {copy};
  node.attributes.Set("perm", std::vector<int64_t>{1, 0});
  node.name = absl::StrCat(graph_.value(copy).name, ".transpose");
  node.module = graph_.node(reader).module;
  transposes_[reader] = graph_.AddNode(std::move(node));
  graph_.order.pop_back();
  graph_.value(copy).kind = ValueKind::kActivation;
  notes_.push_back(absl::StrCat("'", graph_.value(copy).name, "' ", ShapeString(graph_.value(copy).type.shape),
                                " is, by its shape and by what the file says of its name, the transposed '",
                                graph_.value(table).name, "': taken to be tied to it, and counted once"));
}

// A copy that the file says to be made of another parameter ("folded_from"), and that has its transposed shape.
void Finder::TieNamedCopies() {
  absl::flat_hash_map<std::string, ValueId> by_name;
  for (ValueId id : Parameters()) by_name.emplace(graph_.value(id).name, id);
  for (ValueId id : Parameters()) {
    const Value& copy = graph_.value(id);
    const auto found = by_name.find(copy.original_name);
    const bool known = static_cast<size_t>(id) < differentiable_.size() && !uses_.of(id).empty();
    if (!known || found == by_name.end() || found->second == id) continue;
    // The file says it of the copy, or of the table under whose name it says so.
    const bool told =
        copy.evidence != KindEvidence::kNone || graph_.value(found->second).evidence != KindEvidence::kNone;
    if (!told) continue;
    const Shape& table = graph_.value(found->second).type.shape;
    const Shape transposed(table.rbegin(), table.rend());
    if (table.size() == 2 && table[0] != table[1] && copy.type.shape == transposed) Tie(id, found->second);
  }
}

// An output layer that shares its matrix with the embedding: constant folding left a transposed copy of it, nameless.
// Where more than one table or copy has the shape, nothing tells which belongs to which, and none is tied.
void Finder::TieTransposedCopies() {
  TieNamedCopies();
  struct Pair {
    std::vector<ValueId> tables, copies;
  };
  absl::btree_map<std::pair<int64_t, int64_t>, Pair> by_shape;  // as the table has it
  for (ValueId id : Parameters()) {
    const Value& value = graph_.value(id);
    if (static_cast<size_t>(id) >= differentiable_.size() || value.type.rank() != 2) continue;
    const int64_t rows = value.type.shape[0], columns = value.type.shape[1];
    const auto readers = uses_.of(id);
    if (rows == columns || readers.empty()) continue;
    const OpSemantics* semantics = SemanticsOf(graph_.node(readers[0]));
    if (semantics == nullptr) continue;
    const bool nameless =
        IsAnonymous(value.name) && (value.original_name.empty() || value.evidence == KindEvidence::kNone);
    if (nameless && semantics->contraction && readers.size() == 1) by_shape[{columns, rows}].copies.push_back(id);
    if (!nameless && semantics->kernel == CopyKernel) by_shape[{rows, columns}].tables.push_back(id);
  }
  for (const auto& [shape, pair] : by_shape) {
    if (pair.tables.size() == 1 && pair.copies.size() == 1) Tie(pair.copies[0], pair.tables[0]);
  }
  std::vector<NodeId> order;
  order.reserve(graph_.order.size() + transposes_.size());
  for (NodeId id : graph_.order) {
    const auto transpose = transposes_.find(id);
    if (transpose != transposes_.end()) order.push_back(transpose->second);
    order.push_back(id);
  }
  graph_.order = std::move(order);
}

// Exporters fold an inference-mode batch normalization into the convolution before it. What is left of it is a weight
// under a name made up by the exporter, or one without the metadata that the file's other parameters have.
void Finder::NoteFoldedBatchNorm() {
  bool has_metadata = false, has_names = false;
  for (size_t i = 0; i < graph_.values.size(); ++i) {
    const Value& value = graph_.values[i];
    if (!IsInitializer(static_cast<ValueId>(i))) continue;
    has_metadata = has_metadata || (value.evidence == KindEvidence::kMetadata && value.kind == ValueKind::kParameter);
    has_names = has_names || (absl::StrContains(value.name, '.') && !IsAnonymous(value.name));
  }
  int convolutions = 0, made_up = 0, without_metadata = 0;
  for (NodeId id : graph_.order) {
    const Node& node = graph_.node(id);
    if (node.op.type != "Conv" && node.op.type != "ConvTranspose") continue;
    ++convolutions;
    if (node.inputs.size() < 2 || !IsInitializer(node.inputs[1])) continue;
    const Value& weight = graph_.value(node.inputs[1]);
    const bool number = std::all_of(weight.name.begin(), weight.name.end(), absl::ascii_isdigit);
    made_up += absl::StartsWith(weight.name, "onnx::Conv") || (number && has_names) ? 1 : 0;
    without_metadata += has_metadata && weight.evidence == KindEvidence::kNone ? 1 : 0;
  }
  const int folded = std::max(made_up, without_metadata);
  if (folded == 0) return;
  const absl::string_view remedy = made_up > 0 ? "training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False"
                                               : "dynamo=True, optimize=False";
  notes_.push_back(absl::StrCat("looks like batch normalization was folded into ", folded, " of ", convolutions,
                                " convolutions (inference export): training cost misses it; export with "
                                "torch.onnx.export(..., ",
                                remedy, ")"));
}

absl::StatusOr<std::regex> CompileRegex(absl::string_view flag, const std::string& pattern) {
  try {
    return std::regex(pattern);
  } catch (const std::regex_error& error) {
    return absl::InvalidArgumentError(absl::StrCat(flag, ": '", pattern, "' is no regular expression (", error.what(),
                                                   "), expected one as in ECMAScript"));
  }
}

bool Matches(const Value& value, const std::regex& regex) {
  // std::regex recurses once per character; names of sane files are far shorter.
  constexpr size_t kMaxName = 1000;
  return std::regex_search(value.name.substr(0, kMaxName), regex) ||
         std::regex_search(value.original_name.substr(0, kMaxName), regex);
}

absl::Status MatchesNothing(absl::string_view flag, const std::string& pattern, const std::string& example) {
  return absl::NotFoundError(
      absl::StrCat(flag, ": no parameter matches '", pattern,
                   example.empty() ? "'" : absl::StrCat("'; they are called like '", example, "'")));
}

absl::Status Finder::Overrule(const ParameterOptions& options) {
  const std::vector<ValueId> parameters = Parameters();
  const std::string example = parameters.empty() ? "" : graph_.value(parameters[0]).name;
  if (!options.train.empty()) {
    RS_ASSIGN_OR_RETURN(const std::regex train, CompileRegex("--train", options.train));
    int trained = 0;
    for (size_t i = 0; i < graph_.values.size(); ++i) {
      const auto id = static_cast<ValueId>(i);
      Value& value = graph_.value(id);
      const bool parameter = value.kind == ValueKind::kParameter && !outer_.contains(id);
      if (!parameter && (i >= differentiable_.size() || !IsCandidate(id))) continue;
      if (Matches(value, train)) {
        value.kind = ValueKind::kParameter;
        ++trained;
      } else if (parameter) {
        value.kind = ValueKind::kBuffer;
      }
    }
    if (trained == 0) return MatchesNothing("--train", options.train, example);
    DetachConstantNodes();
  }
  if (options.freeze.empty()) return absl::OkStatus();
  RS_ASSIGN_OR_RETURN(const std::regex freeze, CompileRegex("--freeze", options.freeze));
  int frozen = 0;
  for (ValueId id : parameters) {
    if (!Matches(graph_.value(id), freeze)) continue;
    graph_.value(id).kind = ValueKind::kBuffer;
    ++frozen;
  }
  return frozen > 0 ? absl::OkStatus() : MatchesNothing("--freeze", options.freeze, example);
}

}  // namespace

absl::Status FindParameters(Graph& graph, const ParameterOptions& options, std::vector<std::string>& notes) {
  return Finder(graph, notes).Run(options);
}

int64_t ParameterCount(const Graph& graph) {
  std::vector<bool> counted(graph.values.size(), false);
  int64_t count = 0;
  const auto visit = [&](ValueId id) {
    if (id == kNoValue || counted[id] || graph.value(id).kind != ValueKind::kParameter) return;
    counted[id] = true;
    count += ElementCount(graph.value(id).type.shape).value_or(0);
  };
  for (NodeId id : graph.order) {
    for (ValueId input : graph.node(id).inputs) visit(input);
    for (ValueId capture : graph.node(id).captures) visit(capture);
  }
  return count;
}

}  // namespace reusescope
