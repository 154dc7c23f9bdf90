// LSTM, GRU and RNN: one kernel forward, one or two backward.
//
//   gates[t,b,d,g,h] += X[t,b,k] * W[d,g,h,k] + H[t-1,b,d,k] * R[d,g,h,k]
//   MACs = T * B * D * G * H * (I + H)
//
// for T steps, batch B, D directions, G gates (LSTM 4, GRU 3, RNN 1), hidden size H, input size I: what the cell costs
// when it is unrolled into products. Both products are one nest whose loop k runs over X's I columns, then over the
// hidden state's H; an access outside its own columns touches nothing. Every step is counted, also where sequence_lens
// ends one early, and the first, whose hidden state is zero. The cell's elementwise work comes on top: FLOPs and
// transcendentals per hidden unit and step.
//
// Backward is what cuDNN launches, two kernels: "<Op>Grad" walks the steps back and yields the gradients of the gates,
// of X and of the initial states; "<Op>WeightGrad" yields those of W, R, B and P from the gate gradients of all steps.
// Together 2x the MACs of forward; what nobody needs is left out: dX (I of k), dW (I), dR (H). They need the activated
// gates of all steps, of LSTM the cell states too, of GRU with linear_before_reset the recurrent part of the new gate,
// which forward saves for them, besides X, Y and the initial states.
//
// Eager PyTorch on the CPU: LSTM is one oneDNN operator that keeps its input, its output and both states at either end
// (its own workspace, opaque to autograd, is not counted). GRU and RNN run step by step and keep per step and unit
// seven numbers (three gates, the recurrent new gate, the new gate, hidden minus new, hidden) and one.

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

constexpr absl::string_view kIsGradient = "a gradient itself";

// Slots of the inputs, the same in all three operators as far as they have them.
enum Slot { kX = 0, kW = 1, kR = 2, kB = 3, kSequenceLens = 4, kInitialH = 5, kInitialC = 6, kPeephole = 7 };

struct Cell {
  absl::string_view type;
  int64_t gates;
  // Per hidden unit and step, biases and activations apart: forward, and backward with the default activations.
  int64_t combine_flops;
  int64_t grad_flops, grad_transcendentals;
  int64_t eager_per_unit;  // numbers kept per step and unit by eager PyTorch, input apart; 0: see LstmSaves
  bool has_cell_state;
};

// Combining: LSTM c = f c + i g, h = o tanh(c): 4. GRU r h, (1 - z) n + z h: 5. Backward: the derivative of each
// activation from its value is 3 FLOPs; LSTM recomputes tanh(c).
constexpr Cell kCells[] = {
    {"LSTM", 4, 4, 23, 1, 0, true},
    {"GRU", 3, 5, 18, 0, 7, false},
    {"RNN", 1, 0, 4, 0, 1, false},
};

// The cell of "LSTM", "LSTMGrad", "LSTMWeightGrad".
const Cell& CellOf(const OpKey& op) {
  for (const Cell& cell : kCells) {
    if (absl::StartsWith(op.type, cell.type)) return cell;
  }
  return kCells[0];
}

struct Activation {
  absl::string_view name;
  int64_t flops, transcendentals;
};

// The activations that ONNX names, counted as the elementwise operators are.
constexpr Activation kActivations[] = {
    {"Sigmoid", 2, 2},
    {"Tanh", 0, 1},
    {"Relu", 1, 0},
    {"Affine", 2, 0},
    {"LeakyRelu", 2, 0},
    {"Elu", 3, 1},
    {"HardSigmoid", 4, 0},
    {"ScaledTanh", 2, 1},
    {"Softsign", 2, 1},
    {"Softplus", 1, 2},
    {"ThresholdedRelu", 1, 0},
};

// T, B, D, I, H.
struct Sizes {
  int64_t steps, batch, directions, input, hidden;
  int64_t units() const { return steps * batch * directions * hidden; }
};

bool BatchFirst(const Attributes& attributes) { return attributes.Int("layout", 0) == 1; }
int TimeAxis(const OpContext& ctx) { return BatchFirst(ctx.attributes()) ? 1 : 0; }

absl::StatusOr<Sizes> SizesOf(const OpContext& ctx) {
  const Shape& x = ctx.InShape(kX);
  const Shape& w = ctx.InShape(kW);
  const Shape& r = ctx.InShape(kR);
  const int64_t gates = CellOf(ctx.node().op).gates;
  if (x.size() != 3 || w.size() != 3 || r.size() != 3 || w[1] != gates * r[2] || w[2] != x[2]) {
    return ctx.Error(absl::StrCat("X is ", ShapeString(x), ", W ", ShapeString(w), ", R ", ShapeString(r),
                                  ", expected [T, B, I], [D, ", gates, "H, I], [D, ", gates, "H, H]"));
  }
  const bool batch_first = BatchFirst(ctx.attributes());
  return Sizes{.steps = x[batch_first ? 1 : 0],
               .batch = x[batch_first ? 0 : 1],
               .directions = w[0],
               .input = x[2],
               .hidden = r[2]};
}

// FLOPs and transcendentals of activation `i` of the node's list, or of the default.
Activation ActivationAt(const OpContext& ctx, size_t i, absl::string_view absent) {
  absl::string_view name = absent;
  const Attribute* attribute = ctx.attributes().Find("activations");
  const auto* names = attribute == nullptr ? nullptr : std::get_if<std::vector<std::string>>(attribute);
  if (names != nullptr && i < names->size()) name = (*names)[i];
  for (const Activation& activation : kActivations) {
    if (activation.name == name) return activation;
  }
  return kActivations[0];
}

// Adds the elementwise work of the cell. Activations are taken to be those of the forward direction.
void AddCellArithmetic(const OpContext& ctx, const Sizes& sizes, Kernel& kernel) {
  const Cell& cell = CellOf(ctx.node().op);
  int64_t flops = cell.combine_flops, transcendentals = 0;
  const auto activate = [&](int64_t times, size_t i, absl::string_view absent) {
    const Activation activation = ActivationAt(ctx, i, absent);
    flops += times * activation.flops;
    transcendentals += times * activation.transcendentals;
  };
  if (cell.type == "RNN") {
    activate(1, 0, "Tanh");
  } else {
    activate(cell.gates - 1, 0, "Sigmoid");
    activate(1, 1, "Tanh");
    if (cell.has_cell_state) activate(1, 2, "Tanh");
  }
  if (ctx.HasInput(kB)) flops += 2 * cell.gates;  // input and recurrent bias
  if (cell.has_cell_state && ctx.HasInput(kPeephole)) flops += 6;
  if (ctx.attributes().Has("clip")) flops += 2 * cell.gates;
  kernel.extra_flops += flops * sizes.units();
  kernel.extra_transcendentals += transcendentals * sizes.units();
}

// The nest that forward and backward share: loops t b d g h k, k over `columns`.
struct CellNest {
  Kernel kernel;
  int t, b, d, g, h, k;
};

CellNest BuildCellNest(const Sizes& sizes, int64_t gates, int64_t columns) {
  CellNest nest{.kernel = {.contraction = true, .macs_per_point = 1}, .t = 0, .b = 1, .d = 2, .g = 3, .h = 4, .k = 5};
  AddLoop(nest.kernel, 't', sizes.steps);
  AddLoop(nest.kernel, 'b', sizes.batch);
  AddLoop(nest.kernel, 'd', sizes.directions);
  AddLoop(nest.kernel, 'g', gates);
  AddLoop(nest.kernel, 'h', sizes.hidden);
  AddLoop(nest.kernel, 'k', columns);
  return nest;
}

// Columns [first, first + extent) of loop k.
IndexExpr Columns(const CellNest& nest, int64_t first, int64_t extent) {
  return {.terms = {{nest.k, 1}}, .offset = -first, .extent = extent};
}

using Index = absl::InlinedVector<IndexExpr, 5>;

// [d, g H + h, columns]: W, R and their gradients.
Index WeightIndex(const CellNest& nest, const Sizes& sizes, int64_t gates, int64_t first, int64_t extent) {
  const IndexExpr row{.terms = {{nest.g, sizes.hidden}, {nest.h, 1}}, .extent = gates * sizes.hidden};
  return {IndexOf(nest.d, sizes.directions), row, Columns(nest, first, extent)};
}

// [t, b, columns], or [b, t, columns]: X and its gradient.
Index InputIndex(const CellNest& nest, const Sizes& sizes, bool batch_first, int64_t first) {
  const IndexExpr t = IndexOf(nest.t, sizes.steps), b = IndexOf(nest.b, sizes.batch);
  const IndexExpr columns = Columns(nest, first, sizes.input);
  return batch_first ? Index{b, t, columns} : Index{t, b, columns};
}

// [t, d, b, unit], or [b, t, d, unit]: Y.
Index OutputIndex(const CellNest& nest, const Sizes& sizes, bool batch_first, const IndexExpr& unit) {
  const IndexExpr t = IndexOf(nest.t, sizes.steps), b = IndexOf(nest.b, sizes.batch),
                  d = IndexOf(nest.d, sizes.directions);
  return batch_first ? Index{b, t, d, unit} : Index{t, d, b, unit};
}

Access Indexed(Access access, Index index) {
  access.index = std::move(index);
  return access;
}

absl::StatusOr<Kernel> CellKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const Sizes sizes, SizesOf(ctx));
  const int64_t gates = CellOf(ctx.node().op).gates;
  const bool batch_first = BatchFirst(ctx.attributes());
  CellNest nest = BuildCellNest(sizes, gates, sizes.input + sizes.hidden);
  nest.kernel.accesses = {
      Indexed(AffineInput(ctx, kX), InputIndex(nest, sizes, batch_first, 0)),
      Indexed(AffineInput(ctx, kW), WeightIndex(nest, sizes, gates, 0, sizes.input)),
      Indexed(AffineInput(ctx, kR), WeightIndex(nest, sizes, gates, sizes.input, sizes.hidden)),
  };
  AddWholeInputs(ctx, nest.kernel, kB);
  if (ctx.HasOutput(0)) {
    const IndexExpr unit = IndexOf(nest.h, sizes.hidden);
    nest.kernel.accesses.push_back(Indexed(AffineOutput(ctx, 0), OutputIndex(nest, sizes, batch_first, unit)));
  }
  AddWholeOutputs(ctx, nest.kernel, 1);  // last states, and what is saved for backward
  AddCellArithmetic(ctx, sizes, nest.kernel);
  return nest.kernel;
}

// ---- Backward. Both operators carry `sizes` = [T, B, D, I, H] and `of`, the forward inputs (slots) whose gradients
// they yield, in the order of their outputs; "<Op>Grad" yields the gate gradients first.

absl::StatusOr<Sizes> SizesAttribute(const OpContext& ctx) {
  const auto sizes = ctx.attributes().Ints("sizes");
  if (sizes.size() != 5) return ctx.Error("attribute sizes is missing");
  return Sizes{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]};
}

bool YieldsGradientOf(const OpContext& ctx, Slot slot) {
  const auto of = ctx.attributes().Ints("of");
  return std::find(of.begin(), of.end(), slot) != of.end();
}

// Inputs: W (omitted without dX), R, then what is read whole.
absl::StatusOr<Kernel> CellGradKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const Sizes sizes, SizesAttribute(ctx));
  const Cell& cell = CellOf(ctx.node().op);
  const bool dx = YieldsGradientOf(ctx, kX);
  CellNest nest = BuildCellNest(sizes, cell.gates, sizes.hidden + (dx ? sizes.input : 0));
  if (dx) {
    nest.kernel.accesses.push_back(
        Indexed(AffineInput(ctx, 0), WeightIndex(nest, sizes, cell.gates, sizes.hidden, sizes.input)));
  }
  nest.kernel.accesses.push_back(Indexed(AffineInput(ctx, 1), WeightIndex(nest, sizes, cell.gates, 0, sizes.hidden)));
  AddWholeInputs(ctx, nest.kernel, 2);
  AddWholeOutputs(ctx, nest.kernel);
  nest.kernel.extra_flops = cell.grad_flops * sizes.units();
  nest.kernel.extra_transcendentals = cell.grad_transcendentals * sizes.units();
  return nest.kernel;
}

// Inputs: X (omitted without dW), Y (omitted without dR), the gate gradients, then what is read whole.
absl::StatusOr<Kernel> CellWeightGradKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const Sizes sizes, SizesAttribute(ctx));
  const Cell& cell = CellOf(ctx.node().op);
  const bool batch_first = BatchFirst(ctx.attributes());
  const bool dw = YieldsGradientOf(ctx, kW), dr = YieldsGradientOf(ctx, kR);
  const int64_t first_hidden = dw ? sizes.input : 0;
  CellNest nest = BuildCellNest(sizes, cell.gates, first_hidden + (dr ? sizes.hidden : 0));
  if (dw) {
    nest.kernel.accesses.push_back(Indexed(AffineInput(ctx, 0), InputIndex(nest, sizes, batch_first, 0)));
  }
  if (dr) {
    const IndexExpr unit = Columns(nest, first_hidden, sizes.hidden);
    nest.kernel.accesses.push_back(Indexed(AffineInput(ctx, 1), OutputIndex(nest, sizes, batch_first, unit)));
  }
  AddWholeInputs(ctx, nest.kernel, 2);
  AddWholeOutputs(ctx, nest.kernel);
  for (Access& access : nest.kernel.accesses) {
    if (access.is_output) access.role = Role::kDW;
  }
  const int64_t gate_units = sizes.units() * cell.gates;
  if (YieldsGradientOf(ctx, kB)) nest.kernel.extra_flops += gate_units;
  if (YieldsGradientOf(ctx, kPeephole)) nest.kernel.extra_flops += 2 * 3 * sizes.units();
  return nest.kernel;
}

// What backward reads of forward: values of all steps.
struct SavedStates {
  ValueId hidden, gates = kNoValue, cells = kNoValue, new_gate = kNoValue;
};

SavedStates SaveStates(GradientContext& ctx, const Sizes& sizes, DType dtype) {
  const Cell& cell = CellOf(ctx.node().op);
  const auto of_all_steps = [&](int64_t per_unit) {
    return Type::Tensor(dtype, {sizes.steps, sizes.directions, sizes.batch, per_unit * sizes.hidden});
  };
  const Shape batch_first = {sizes.batch, sizes.steps, sizes.directions, sizes.hidden};
  SavedStates saved;
  saved.hidden = ctx.AskForOutput(
      0, "hidden", BatchFirst(ctx.node().attributes) ? Type::Tensor(dtype, batch_first) : of_all_steps(1));
  if (cell.gates > 1) saved.gates = ctx.SaveOutput("gates", of_all_steps(cell.gates));
  if (cell.has_cell_state) saved.cells = ctx.SaveOutput("cells", of_all_steps(1));
  if (cell.type == "GRU" && ctx.node().attributes.Int("linear_before_reset", 0) != 0) {
    saved.new_gate = ctx.SaveOutput("recurrent_new_gate", of_all_steps(1));
  }
  return saved;
}

Attributes GradientAttributes(const GradientContext& ctx, const Sizes& sizes, std::vector<int64_t> of) {
  Attributes attributes = ctx.node().attributes;
  attributes.Set("sizes", std::vector<int64_t>{sizes.steps, sizes.batch, sizes.directions, sizes.input, sizes.hidden});
  attributes.Set("of", std::move(of));
  return attributes;
}

// Emits `op`; its outputs are `leading` and the gradients of the inputs `of`, which it hands back.
std::vector<ValueId> EmitGradients(GradientContext& ctx, absl::string_view op, const std::vector<ValueId>& inputs,
                                   std::vector<Type> leading, const std::vector<int64_t>& of, const Sizes& sizes) {
  const size_t first = leading.size();
  for (int64_t slot : of) leading.push_back(ctx.TypeOf(ctx.I(static_cast<int>(slot))));
  const std::vector<ValueId> outputs = ctx.EmitMany(op, inputs, leading, GradientAttributes(ctx, sizes, of));
  for (size_t i = 0; i < of.size(); ++i) ctx.SetGradient(static_cast<int>(of[i]), outputs[first + i]);
  return outputs;
}

std::vector<int64_t> Needed(const GradientContext& ctx, std::initializer_list<Slot> slots) {
  std::vector<int64_t> needed;
  for (Slot slot : slots) {
    if (ctx.Needs(slot)) needed.push_back(slot);
  }
  return needed;
}

absl::Status CellGradient(GradientContext& ctx) {
  RS_ASSIGN_OR_RETURN(const Sizes sizes, SizesOf(ctx.forward()));
  const std::string name = ctx.node().op.type;
  const DType dtype = ctx.TypeOf(ctx.I(kX)).dtype;
  const std::vector<int64_t> of_data = Needed(ctx, {kX, kInitialH, kInitialC});
  const std::vector<int64_t> of_weights = Needed(ctx, {kW, kR, kB, kPeephole});
  if (of_data.empty() && of_weights.empty()) return absl::OkStatus();
  const SavedStates saved = SaveStates(ctx, sizes, dtype);
  const int64_t gates = CellOf(ctx.node().op).gates + (saved.new_gate != kNoValue ? 1 : 0);
  const Type gate_gradients = Type::Tensor(dtype, {sizes.steps, sizes.directions, sizes.batch, gates * sizes.hidden});
  const ValueId first_cell = saved.cells != kNoValue ? ctx.I(kInitialC) : kNoValue;
  const ValueId peephole = saved.cells != kNoValue ? ctx.I(kPeephole) : kNoValue;
  // Derivatives of the gates: LSTM from gates and cells, GRU from gates and hidden states, RNN from hidden states.
  const ValueId hidden = saved.cells != kNoValue ? kNoValue : saved.hidden;
  const ValueId first_hidden = saved.cells != kNoValue ? kNoValue : ctx.I(kInitialH);
  const std::vector<ValueId> data_inputs = {ctx.Needs(kX) ? ctx.I(kW) : kNoValue,
                                            ctx.I(kR),
                                            ctx.GO(0),
                                            ctx.GO(1),
                                            ctx.GO(2),
                                            saved.gates,
                                            saved.cells,
                                            saved.new_gate,
                                            hidden,
                                            ctx.I(kSequenceLens),
                                            first_hidden,
                                            first_cell,
                                            peephole};
  const std::vector<ValueId> outputs =
      EmitGradients(ctx, absl::StrCat("reusescope::", name, "Grad"), data_inputs, {gate_gradients}, of_data, sizes);
  if (of_weights.empty()) return absl::OkStatus();
  const std::vector<ValueId> weight_inputs = {
      ctx.Needs(kW) ? ctx.I(kX) : kNoValue, ctx.Needs(kR) ? saved.hidden : kNoValue, outputs[0],
      ctx.Needs(kR) ? ctx.I(kInitialH) : kNoValue, ctx.Needs(kPeephole) ? saved.cells : kNoValue,
      // GRU whose reset gate comes before the product: R of the new gate meets r h.
      name == "GRU" && ctx.Needs(kR) && saved.new_gate == kNoValue ? saved.gates : kNoValue,
      ctx.Needs(kPeephole) ? ctx.I(kInitialC) : kNoValue,
      // Which step comes first where a direction runs backwards.
      ctx.Needs(kR) || ctx.Needs(kPeephole) ? ctx.I(kSequenceLens) : kNoValue};
  EmitGradients(ctx, absl::StrCat("reusescope::", name, "WeightGrad"), weight_inputs, {}, of_weights, sizes);
  return absl::OkStatus();
}

// ---- What eager PyTorch keeps.

// A state at one end: the value if the graph has it, else as many elements (PyTorch makes zeros).
void SavesState(const OpContext& ctx, const Sizes& sizes, ValueId value, EagerSaves& saves) {
  if (value != kNoValue && ctx.graph().value(value).kind != ValueKind::kConstant) {
    saves.values.push_back(value);
  } else {
    saves.extra_activation_elements += sizes.directions * sizes.batch * sizes.hidden;
  }
}

void CellSaves(const OpContext& ctx, EagerSaves& saves) {
  const absl::StatusOr<Sizes> sizes = SizesOf(ctx);
  if (!sizes.ok()) return;
  SavesInput(ctx, saves);
  const auto input = [&](int i) { return ctx.HasInput(i) ? ctx.node().inputs[i] : kNoValue; };
  const auto output = [&](int j) { return ctx.HasOutput(j) ? ctx.node().outputs[j] : kNoValue; };
  const Cell& cell = CellOf(ctx.node().op);
  SavesState(ctx, *sizes, input(kInitialH), saves);
  if (!cell.has_cell_state) {
    saves.extra_activation_elements += cell.eager_per_unit * sizes->units();
    return;
  }
  SavesOutput(ctx, saves);
  SavesState(ctx, *sizes, input(kInitialC), saves);
  SavesState(ctx, *sizes, output(1), saves);
  SavesState(ctx, *sizes, output(2), saves);
}

}  // namespace

void RegisterRecurrent(OpRegistry& registry) {
  constexpr uint32_t kDifferentiable = ~(1u << kSequenceLens);
  constexpr uint32_t kBatched = 1u << kX | 1u << kInitialH | 1u << kInitialC;
  for (absl::string_view type : {"LSTM", "GRU", "RNN"}) {
    registry.Add({.type = type,
                  .kernel = CellKernel,
                  .gradient = CellGradient,
                  .body = RecurrentBody,
                  .differentiable_inputs = kDifferentiable,
                  .batched_inputs = kBatched,
                  .time_axis = TimeAxis,
                  .eager_saves = CellSaves,
                  .contraction = true});
  }
  for (absl::string_view type : {"LSTMGrad", "GRUGrad", "RNNGrad"}) {
    registry.Add({.domain = kReuseScopeDomain,
                  .type = type,
                  .kernel = CellGradKernel,
                  .body = RecurrentGradBody,
                  .not_differentiable = kIsGradient,
                  .contraction = true});
  }
  for (absl::string_view type : {"LSTMWeightGrad", "GRUWeightGrad", "RNNWeightGrad"}) {
    registry.Add({.domain = kReuseScopeDomain,
                  .type = type,
                  .kernel = CellWeightGradKernel,
                  .body = RecurrentWeightGradBody,
                  .not_differentiable = kIsGradient,
                  .contraction = true});
  }
}

}  // namespace reusescope
