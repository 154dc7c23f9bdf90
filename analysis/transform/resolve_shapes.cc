#include "analysis/transform/resolve_shapes.h"

#include <algorithm>
#include <utility>

#include "absl/container/btree_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/status_util.h"
#include "analysis/transform/dim_expression.h"
#include "analysis/transform/hoist_tensors.h"
#include "analysis/transform/inline_functions.h"
#include "analysis/transform/rebatch.h"
#include "analysis/transform/shape_resolver.h"

namespace reusescope {
namespace {

std::string Quoted(const absl::btree_set<std::string>& names) {
  if (names.empty()) return "none";
  return absl::StrJoin(names, ", ",
                       [](std::string* out, const std::string& name) { absl::StrAppend(out, "'", name, "'"); });
}

// Sizes tried for dimensions that nothing binds: 1 broadcasts to anything, 256 is as large as the window of a
// convolution over images, 16384 as that of one over sound.
constexpr int64_t kAssumedSizes[] = {1, 256, 16384};

// The size of dimensions that nothing binds; without `size`, that is an error, but for leading ones, which are 1 unless
// they are taken as the others.
struct Assumed {
  std::optional<int64_t> size;
  bool leading = false;
};

// Gives every dimension of the graph's inputs a number.
class Binder {
 public:
  Binder(Graph& graph, const ShapeBindings& bindings, const Assumed& assumed, std::vector<std::string>& notes)
      : graph_(graph), bindings_(bindings), assumed_(assumed), notes_(notes), dims_(bindings.dims) {}

  absl::StatusOr<absl::btree_map<std::string, int64_t>> Run() {
    RS_RETURN_IF_ERROR(CheckNames());
    for (ValueId id : graph_.inputs) RS_RETURN_IF_ERROR(BindWhole(graph_.value(id)));
    RS_RETURN_IF_ERROR(BindBatch());
    // Names before what is computed from them.
    for (bool expressions : {false, true}) {
      for (ValueId id : graph_.inputs) RS_RETURN_IF_ERROR(BindRest(graph_.value(id), expressions));
    }
    if (!taken_.empty()) {
      notes_.push_back(absl::StrCat("dimensions that nothing binds are taken as ", *assumed_.size, ": ",
                                    absl::StrJoin(taken_, ", ")));
    }
    return std::move(dims_);
  }

 private:
  static bool HasTensorShape(const Value& value) { return value.type.IsTensor() && value.type.has_shape; }

  static std::string Symbol(const Value& value, size_t d) {
    return d < value.dim_symbols.size() ? value.dim_symbols[d] : std::string();
  }

  // Every binding names something that the model has.
  absl::Status CheckNames() const {
    absl::btree_set<std::string> symbols, inputs;
    for (const Value& value : graph_.values) {
      for (const std::string& symbol : value.dim_symbols) {
        if (!symbol.empty()) symbols.insert(symbol);
      }
    }
    for (ValueId id : graph_.inputs) inputs.insert(graph_.value(id).name);
    for (const auto& [name, dim] : bindings_.dims) {
      if (!symbols.contains(name)) {
        return absl::NotFoundError(absl::StrCat("found no dimension named '", name, "' for --dim ", name, "=", dim,
                                                ", expected one of ", Quoted(symbols)));
      }
      RS_RETURN_IF_ERROR(CheckDim(dim, absl::StrCat("--dim ", name)));
    }
    for (const auto& [name, shape] : bindings_.inputs) {
      if (!inputs.contains(name)) {
        return absl::NotFoundError(
            absl::StrCat("found no input named '", name, "' for --input ", name, ", expected one of ", Quoted(inputs)));
      }
      for (int64_t dim : shape) RS_RETURN_IF_ERROR(CheckDim(dim, absl::StrCat("--input ", name)));
    }
    return bindings_.batch ? CheckDim(*bindings_.batch, "--batch") : absl::OkStatus();
  }

  static absl::Status CheckDim(int64_t dim, absl::string_view flag) {
    if (dim >= 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("found ", flag, " ", dim, ", expected no negative dimension"));
  }

  // A whole shape given for this input; its symbols are bound by it for all others.
  absl::Status BindWhole(Value& input) {
    const auto it = bindings_.inputs.find(input.name);
    if (it == bindings_.inputs.end()) return absl::OkStatus();
    const Shape& shape = it->second;
    if (HasTensorShape(input) && input.type.shape.size() != shape.size()) {
      return absl::InvalidArgumentError(absl::StrCat("input '", input.name, "': found ", ShapeString(shape),
                                                     ", expected ", input.type.shape.size(), " dimensions as in ",
                                                     TypeString(input.type)));
    }
    for (size_t d = 0; d < shape.size(); ++d) {
      const std::string symbol = Symbol(input, d);
      if (symbol.empty()) continue;
      const auto [bound, fresh] = dims_.try_emplace(symbol, shape[d]);
      if (!fresh && bound->second != shape[d]) {
        return absl::InvalidArgumentError(absl::StrCat("input '", input.name, "': found dimension '", symbol,
                                                       "' bound to ", bound->second, " and to ", shape[d],
                                                       ", expected one number"));
      }
    }
    if (input.type.form == Type::Form::kUnknown) input.type = Type::Tensor(DType::kFloat32, shape);
    input.type.has_shape = true;
    input.type.shape = shape;
    return absl::OkStatus();
  }

  absl::Status BindBatch() {
    if (!bindings_.batch) return absl::OkStatus();
    const int64_t batch = *bindings_.batch;
    bool bound = graph_.inputs.empty();
    for (ValueId id : graph_.inputs) {
      Value& input = graph_.value(id);
      if (!HasTensorShape(input) || input.type.shape.empty()) continue;
      const std::string symbol = Symbol(input, 0);
      if (input.type.shape[0] != kUnknownDim || bindings_.inputs.contains(input.name)) {
        bound = bound || input.type.shape[0] == batch;
        continue;
      }
      bound = true;
      if (symbol.empty()) {
        input.type.shape[0] = batch;
      } else {
        dims_.try_emplace(symbol, batch);
      }
    }
    if (bound) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("found --batch ", batch, " and no input with a leading dimension, expected an input of batches"));
  }

  absl::Status BindRest(Value& input, bool expressions) {
    if (input.type.form == Type::Form::kUnknown || (input.type.IsTensor() && !input.type.has_shape)) {
      return absl::FailedPreconditionError(absl::StrCat("input '", input.name, "' is ", TypeString(input.type),
                                                        ", expected a shape; --input ", input.name,
                                                        "=D0xD1x... supplies it"));
    }
    for (size_t d = 0; d < input.type.shape.size(); ++d) {
      if (input.type.shape[d] != kUnknownDim) continue;
      const std::string symbol = Symbol(input, d);
      if (const auto it = dims_.find(symbol); !symbol.empty() && it != dims_.end()) {
        input.type.shape[d] = it->second;
        continue;
      }
      const bool sparse = input.type.form == Type::Form::kSparseTensor;
      if (!input.type.IsTensor() && !sparse) continue;  // elements of a sequence may differ
      if (IsDimensionExpression(symbol) != expressions) continue;
      if (const auto value = EvaluateDimension(symbol, dims_)) {
        input.type.shape[d] = dims_.emplace(symbol, *value).first->second;
        continue;
      }
      if (d != 0 || assumed_.leading) {
        if (!assumed_.size) return Unbound(input, d, symbol);
        Assume(input, d, symbol);
        continue;
      }
      input.type.shape[0] = 1;
      if (!symbol.empty()) dims_.emplace(symbol, 1);
      notes_.push_back(absl::StrCat("leading dimension ", symbol.empty() ? "" : absl::StrCat("'", symbol, "' "),
                                    "of input '", input.name, "' is not bound and taken as 1; --batch N binds it"));
    }
    return absl::OkStatus();
  }

  static std::string Flag(const Value& input, const std::string& symbol) {
    return symbol.empty() ? absl::StrCat("--input ", input.name, "=D0xD1x...") : absl::StrCat("--dim ", symbol, "=N");
  }

  void Assume(Value& input, size_t d, const std::string& symbol) {
    input.type.shape[d] = *assumed_.size;
    if (!symbol.empty()) dims_.emplace(symbol, *assumed_.size);
    const std::string flag = Flag(input, symbol);
    if (std::find(taken_.begin(), taken_.end(), flag) == taken_.end()) taken_.push_back(flag);
  }

  static absl::Status Unbound(const Value& input, size_t d, const std::string& symbol) {
    const std::string flag = Flag(input, symbol);
    return absl::FailedPreconditionError(
        absl::StrCat("input '", input.name, "' ", TypeString(input.type), ": dimension ", d,
                     symbol.empty() ? "" : absl::StrCat(" ('", symbol, "')"), " is not bound; ", flag, " binds it"));
  }

  Graph& graph_;
  const ShapeBindings& bindings_;
  const Assumed assumed_;
  std::vector<std::string>& notes_;
  std::vector<std::string> taken_;  // the flags that would bind what was assumed
  absl::btree_map<std::string, int64_t> dims_;
};

// Inputs and initializers, which no node's check sees.
absl::Status CheckSizes(const Graph& graph) {
  for (const Value& value : graph.values) {
    if (value.producer != kNoNode || !value.type.IsResolved()) continue;
    auto bytes = ElementCount(value.type.shape);
    if (bytes.ok()) bytes = StorageBytes(*bytes, BitWidth(value.type.dtype));
    if (!bytes.ok()) return Annotate(bytes.status(), absl::StrCat("value '", value.name, "'"));
  }
  return absl::OkStatus();
}

// "3 outputs ...: a, b, c".
void NoteAll(absl::string_view what, const std::vector<std::string>& cases, std::vector<std::string>& notes) {
  constexpr size_t kShown = 3;
  if (cases.empty()) return;
  notes.push_back(absl::StrCat(cases.size(), cases.size() == 1 ? " node " : " nodes ", what, ": ",
                               absl::StrJoin(absl::MakeConstSpan(cases).subspan(0, kShown), "; "),
                               cases.size() > kShown ? "; ..." : ""));
}

absl::Status Resolve(Graph& graph, const ShapeBindings& bindings, const Assumed& assumed, ResolveState& state,
                     std::vector<std::string>& notes) {
  RS_ASSIGN_OR_RETURN(state.dims, Binder(graph, bindings, assumed, notes).Run());
  RS_RETURN_IF_ERROR(CheckSizes(graph));
  RS_RETURN_IF_ERROR(ShapeResolver(graph, state).Run());
  MarkUpperBounds(graph, state);
  for (const auto& [name, trips] : bindings.trip_counts) {
    if (state.loops.contains(name)) continue;
    return absl::NotFoundError(absl::StrCat("found no Loop named '", name, "' for --trip-count ", name, "=", trips,
                                            ", expected one of ", Quoted(state.loops)));
  }
  NoteAll("with shapes that data decide, taken at their largest", state.bounded, notes);
  NoteAll("with shapes that data decide, taken as ones with as many elements", state.reshaped, notes);
  NoteAll("with shapes that data decide and nothing bounds, taken as they are shown", state.assumed, notes);
  NoteAll("with branches or trips that data decide", state.decided, notes);
  NoteAll("with work that data decide, counted at its most", state.counted, notes);
  NoteAll("of another opset or domain than the file claims", state.misfits, notes);
  NoteAll("of a form that ONNX does not have, read as meant", state.mended, notes);
  return absl::OkStatus();
}

// Whether --batch asks for another batch than the one that the file was exported at: no leading dimension is open.
bool NeedsRebatch(const Graph& graph, const ShapeBindings& bindings) {
  const bool open = std::any_of(graph.inputs.begin(), graph.inputs.end(), [&](ValueId id) {
    const Type& type = graph.value(id).type;
    return type.IsTensor() && type.has_shape && !type.shape.empty() && type.shape[0] == kUnknownDim;
  });
  const int64_t fixed = FixedBatch(graph);
  return bindings.batch && !open && fixed > 0 && fixed != *bindings.batch && bindings.inputs.empty();
}

absl::Status ResolveRebatched(Model& model, const ShapeBindings& bindings, std::vector<std::string>& notes) {
  const int64_t from = FixedBatch(model.graph), to = *bindings.batch;
  ShapeBindings as_exported = bindings;
  as_exported.batch.reset();
  const Assumed assumed = {.size = bindings.assume ? std::optional<int64_t>(kAssumedSizes[0]) : std::nullopt};
  const std::unique_ptr<Graph> before = model.graph.Clone();
  ResolveState first(model, as_exported);
  std::vector<std::string> unsaid;
  RS_RETURN_IF_ERROR(Resolve(*before, as_exported, assumed, first, unsaid));
  const Rebatch rebatch(*before, from, to);
  SetFixedBatch(model.graph, from, to);
  ResolveState second(model, as_exported);
  second.rebatch = &rebatch;
  RS_RETURN_IF_ERROR(rebatch.Explain(Resolve(model.graph, as_exported, assumed, second, notes)));
  notes.push_back(absl::StrCat("exported at a fixed batch of ", from, ", analysed at ", to));
  return absl::OkStatus();
}

// kAssumedSizes, and what weights would be multiplied with: the known dimensions of the first matrices.
std::vector<int64_t> SizesToTry(const Graph& graph) {
  constexpr size_t kMost = 16;
  std::vector<int64_t> sizes(std::begin(kAssumedSizes), std::end(kAssumedSizes));
  for (const Value& value : graph.values) {
    if (value.producer != kNoNode || value.type.rank() < 2) continue;
    for (int64_t dim : value.type.shape) {
      if (sizes.size() == kMost) return sizes;
      if (dim > 1 && std::find(sizes.begin(), sizes.end(), dim) == sizes.end()) sizes.push_back(dim);
    }
  }
  return sizes;
}

// A tensor that a node makes has no elements: windows that do not fit, no frame of a sound.
bool HasEmpty(const Graph& graph) {
  return std::any_of(graph.values.begin(), graph.values.end(), [](const Value& value) {
    return value.producer != kNoNode && value.literal < 0 && value.type.IsResolved() &&
           ElementCount(value.type.shape).value_or(1) == 0;
  });
}

// With sizes assumed, each that is tried works on a copy: which fits is known at the end. One that leaves a tensor
// empty fits only if none does better. A leading dimension is one sample unless nothing fits that way: it may be time.
absl::Status ResolveAssuming(Model& model, const ShapeBindings& bindings, std::vector<std::string>& notes) {
  absl::Status first;
  std::unique_ptr<Graph> found;
  std::vector<std::string> said_of_found;
  const std::vector<int64_t> sizes = SizesToTry(model.graph);
  for (size_t i = 0; i < 2 * sizes.size(); ++i) {
    const int64_t size = sizes[i % sizes.size()];
    const bool leading = i >= sizes.size();
    if (found != nullptr && i >= std::size(kAssumedSizes)) break;
    std::unique_ptr<Graph> copy = model.graph.Clone();
    ResolveState state(model, bindings);
    std::vector<std::string> said;
    const absl::Status status = Resolve(*copy, bindings, {.size = size, .leading = leading}, state, said);
    if (!status.ok() && first.ok()) first = status;
    if (!status.ok()) continue;
    const bool empty = HasEmpty(*copy);
    if (found == nullptr || !empty) {
      found = std::move(copy);
      said_of_found = std::move(said);
    }
    if (!empty) break;
  }
  if (found == nullptr) return first;
  model.graph = std::move(*found);
  notes.insert(notes.end(), said_of_found.begin(), said_of_found.end());
  return absl::OkStatus();
}

bool HasOpenInput(const Graph& graph) {
  return std::any_of(graph.inputs.begin(), graph.inputs.end(), [&](ValueId id) {
    const Type& type = graph.value(id).type;
    return type.IsTensor() && type.has_shape && !IsFullyKnown(type.shape);
  });
}

}  // namespace

absl::Status ResolveShapes(Model& model, const ShapeBindings& bindings, std::vector<std::string>& notes) {
  RS_RETURN_IF_ERROR(InlineFunctions(model));
  HoistTensors(model.graph);
  if (NeedsRebatch(model.graph, bindings)) return ResolveRebatched(model, bindings, notes);
  if (bindings.assume && HasOpenInput(model.graph)) return ResolveAssuming(model, bindings, notes);
  ResolveState state(model, bindings);
  return Resolve(model.graph, bindings, {}, state, notes);
}

}  // namespace reusescope
