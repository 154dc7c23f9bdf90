// LSTM, GRU and RNN forward, with what backward needs of every step, and backward: two Scans over the steps.
//
// Forward, for each direction, with x_t W and the biases of all steps computed at once:
//   LSTM   i, o, f = sigmoid, g = tanh of (x_t W + h R [+ P c]);  c' = f c + i g;  h' = o tanh(c')
//   GRU    z, r = sigmoid;  n = tanh(x_t W + r (h R + b))  or  tanh(x_t W + (r h) R + b);  h' = (1 - z) n + z h
//   RNN    h' = f(x_t W + h R)
// Backward carries dh and dc from the last step to the first and hands out the gradients of what the activations were
// applied to; the gradients of X, W, R and B are products with those of all steps. Where sequence_lens ends a row
// early, its states stay as they are and its outputs are zero. Sources: the equations of ONNX's LSTM, GRU, RNN.

#include <algorithm>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/bodies.h"

namespace reusescope {
namespace {

enum Slot { kX = 0, kW = 1, kR = 2, kB = 3, kSequenceLens = 4, kInitialH = 5, kInitialC = 6, kPeephole = 7 };

// The forward node's sizes and form, whichever of its three operators asks.
struct Cell {
  std::string type;
  int64_t steps, batch, directions, input, hidden, gates;
  bool batch_first, linear_before_reset;
  std::vector<std::string> activations;  // as many as a direction has, for all directions
  bool lstm() const { return type == "LSTM"; }
  bool gru() const { return type == "GRU"; }
};

absl::StatusOr<Cell> CellOf(const OpContext& node) {
  Cell cell{.type = node.node().op.type};
  const Shape &x = node.InShape(kX), &w = node.InShape(kW), &r = node.InShape(kR);
  cell.batch_first = node.attributes().Int("layout", 0) == 1;
  cell.linear_before_reset = node.attributes().Int("linear_before_reset", 0) != 0;
  cell.steps = x[cell.batch_first ? 1 : 0];
  cell.batch = x[cell.batch_first ? 0 : 1];
  cell.directions = w[0];
  cell.input = x[2];
  cell.hidden = r[2];
  cell.gates = w[1] / cell.hidden;
  const std::vector<std::string> standard = cell.lstm()  ? std::vector<std::string>{"Sigmoid", "Tanh", "Tanh"}
                                            : cell.gru() ? std::vector<std::string>{"Sigmoid", "Tanh"}
                                                         : std::vector<std::string>{"Tanh"};
  const Attribute* given = node.attributes().Find("activations");
  const auto* names = given == nullptr ? nullptr : std::get_if<std::vector<std::string>>(given);
  cell.activations = standard;
  for (int64_t d = 0; names != nullptr && d < cell.directions; ++d) {
    const std::vector<std::string> own(names->begin() + d * standard.size(),
                                       names->begin() + std::min((d + 1) * standard.size(), names->size()));
    const bool simple = own.size() == 1 && (own[0] == "Relu" || own[0] == "Tanh" || own[0] == "Sigmoid");
    if (own != standard && (standard.size() > 1 || !simple)) {
      return node.Error("has activations of its own, expected the standard ones (of RNN: Tanh, Relu or Sigmoid)");
    }
    if (d == 0) cell.activations = own;
  }
  if (node.attributes().Has("clip")) return node.Error("clips what its activations get, expected no clip");
  if (node.attributes().Int("input_forget", 0) != 0) return node.Error("couples input and forget gate (input_forget)");
  return cell;
}

bool RunsBackwards(const OpContext& node, int64_t direction) {
  return direction == 1 || node.attributes().String("direction", "forward") == "reverse";
}

// The derivative of an activation, from its result.
Expr Slope(const std::string& activation, Expr y) {
  if (activation == "Relu") return y.body->Cast(y.body->Greater(y, 0), y.body->DTypeOf(y));
  return activation == "Sigmoid" ? y * (1.0 - y) : 1.0 - y * y;
}

// x[d] of a tensor whose leading dimension are the directions.
Expr OfDirection(BodyBuilder& body, Expr x, int64_t d, const Shape& rest) {
  return body.Reshape(body.Slice(x, {d}, {d + 1}, {0}), rest);
}

// Columns [n H, (n + 1) H) of the last axis.
Expr Gate(BodyBuilder& body, Expr x, int64_t n, int64_t hidden) {
  return body.Slice(x, {n * hidden}, {(n + 1) * hidden}, {-1});
}

Expr Product(BodyBuilder& body, Expr a, Expr b_transposed) {  // a b^T
  return body.MatMul(a, body.Transpose(b_transposed, {1, 0}));
}

// [T, B, ...] whatever the layout.
Expr StepsFirst(BodyBuilder& body, const Cell& cell, Expr x) {
  return cell.batch_first ? body.Transpose(x, {1, 0, 2}) : x;
}

// Initial or last states, [D, B, H] or [B, D, H], of one direction: [B, H].
Expr StateOf(BodyBuilder& body, const Cell& cell, Expr states, int64_t d) {
  if (!states) return {};
  return OfDirection(body, cell.batch_first ? body.Transpose(states, {1, 0, 2}) : states, d, {cell.batch, cell.hidden});
}

Expr StackStates(BodyBuilder& body, const Cell& cell, const std::vector<Expr>& states) {
  std::vector<Expr> rows;
  for (Expr state : states) rows.push_back(body.Reshape(state, {1, cell.batch, cell.hidden}));
  const Expr stacked = body.Concat(rows, 0);
  return cell.batch_first ? body.Transpose(stacked, {1, 0, 2}) : stacked;
}

// [T, B, 1]: whether step t belongs to the row; omitted where all do.
Expr Mask(BodyBuilder& body, const Cell& cell, Expr lengths) {
  if (!lengths) return {};
  const Expr steps = body.Op("Range", {body.Int(0), body.Int(cell.steps), body.Int(1)});
  const Expr rows = body.Reshape(body.Cast(lengths, DType::kInt64), {1, cell.batch, 1});
  return body.Less(body.Reshape(steps, {cell.steps, 1, 1}), rows);
}

// One Scan over the steps: states in, states and stacked results out.
std::vector<Expr> ScanSteps(BodyBuilder& body, const std::vector<Expr>& states, const std::vector<Expr>& inputs,
                            int results, bool backwards,
                            const std::function<std::vector<Expr>(BodyBuilder&, std::vector<Expr>)>& step) {
  const SubgraphRef loop = body.Subgraph([&](BodyBuilder& inner) {
    std::vector<Expr> operands;
    for (const std::vector<Expr>* list : {&states, &inputs}) {
      for (Expr outer : *list) operands.push_back(inner.AddInput(body.DTypeOf(outer)));
    }
    for (Expr result : step(inner, operands)) inner.AddOutput(result);
  });
  // ONNX's evaluator has no scan directions; what runs backwards is turned around before and after.
  const auto turned = [&](Expr x) {
    constexpr int64_t kFirst = std::numeric_limits<int64_t>::min();
    return backwards ? body.Slice(x, {-1}, {kFirst}, {0}, {-1}) : x;
  };
  std::vector<Expr> operands = states;
  for (Expr input : inputs) operands.push_back(turned(input));
  std::vector<Expr> out =
      body.Ops("Scan", operands, std::vector<DType>(states.size() + results, body.DTypeOf(states[0])),
               MakeAttributes({{"body", loop}, {"num_scan_inputs", static_cast<int64_t>(inputs.size())}}));
  for (size_t j = states.size(); j < out.size(); ++j) out[j] = turned(out[j]);
  return out;
}

// What a step of forward yields.
struct Step {
  Expr hidden, cell, gates, new_gate;
};

Expr Activate(BodyBuilder& body, const std::string& activation, Expr x) { return body.Unary(activation, x); }

Step LstmStep(BodyBuilder& body, const Cell& cell, Expr x, Expr h, Expr c, Expr r, Expr peephole) {
  const int64_t n = cell.hidden;
  const Expr sum = x + Product(body, h, r);
  const auto gate = [&](int64_t k, Expr state) {
    Expr value = Gate(body, sum, k, n);
    return peephole && state ? value + Gate(body, peephole, k, n) * state : value;
  };
  const Expr i = body.Unary("Sigmoid", gate(0, c)), f = body.Unary("Sigmoid", gate(2, c));
  const Expr g = body.Unary("Tanh", gate(3, {}));
  const Expr next = f * c + i * g;
  const Expr o = body.Unary("Sigmoid", gate(1, next));
  const Expr gates[] = {i, o, f, g};
  return {.hidden = o * body.Unary("Tanh", next), .cell = next, .gates = body.Concat(gates, -1)};
}

// `bias` is the recurrent bias of the new gate, which the reset gate scales as well.
Step GruStep(BodyBuilder& body, const Cell& cell, Expr x, Expr h, Expr r_weights, Expr bias) {
  const int64_t n = cell.hidden;
  const auto rows = [&](int64_t from, int64_t to) { return body.Slice(r_weights, {from * n}, {to * n}, {0}); };
  const Expr zr = body.Unary("Sigmoid", body.Slice(x, {0}, {2 * n}, {-1}) + Product(body, h, rows(0, 2)));
  const Expr z = Gate(body, zr, 0, n), r = Gate(body, zr, 1, n);
  Step step;
  Expr candidate;
  if (cell.linear_before_reset) {
    step.new_gate = Product(body, h, rows(2, 3));
    if (bias) step.new_gate = step.new_gate + bias;
    candidate = r * step.new_gate;
  } else {
    candidate = Product(body, r * h, rows(2, 3));
    if (bias) candidate = candidate + bias;
  }
  const Expr fresh = body.Unary("Tanh", Gate(body, x, 2, n) + candidate);
  step.hidden = (1.0 - z) * fresh + z * h;
  const Expr gates[] = {zr, fresh};
  step.gates = body.Concat(gates, -1);
  return step;
}

// Everything that forward computes of one direction, over all steps: [T, B, ...]; last states [B, H].
struct Unrolled {
  Expr hidden, cells, gates, new_gates, last_hidden, last_cell;
};

Unrolled Unroll(BodyBuilder& body, const Cell& cell, int64_t d) {
  const int64_t width = cell.gates * cell.hidden;
  const Expr x = StepsFirst(body, cell, body.In(kX));
  const DType dtype = body.DTypeOf(x);
  const Expr w = OfDirection(body, body.In(kW), d, {width, cell.input});
  const Expr r = OfDirection(body, body.In(kR), d, {width, cell.hidden});
  Expr projected = Product(body, x, w), new_bias;
  if (body.In(kB)) {
    const Expr bias = OfDirection(body, body.In(kB), d, {2 * width});
    projected = projected + body.Slice(bias, {0}, {width}, {0});
    Expr recurrent = body.Slice(bias, {width}, {2 * width}, {0});
    if (cell.gru()) {  // the last gate's stays apart
      new_bias = body.Slice(recurrent, {2 * cell.hidden}, {width}, {0});
      recurrent = body.Pad(body.Slice(recurrent, {0}, {2 * cell.hidden}, {0}), {0, cell.hidden});
    }
    projected = projected + recurrent;
  }
  const Expr peephole =
      cell.lstm() && body.In(kPeephole) ? OfDirection(body, body.In(kPeephole), d, {3 * cell.hidden}) : Expr{};
  const Expr zeros = body.Zeros(dtype, {cell.batch, cell.hidden});
  const Expr h0 = StateOf(body, cell, body.In(kInitialH), d), c0 = StateOf(body, cell, body.In(kInitialC), d);
  std::vector<Expr> states = {h0 ? h0 : zeros};
  if (cell.lstm()) states.push_back(c0 ? c0 : zeros);
  std::vector<Expr> inputs = {projected};
  const Expr mask = Mask(body, cell, body.In(kSequenceLens));
  if (mask) inputs.push_back(mask);
  const bool lbr = cell.gru() && cell.linear_before_reset;
  const int results = 1 + (cell.lstm() ? 1 : 0) + (cell.gates > 1 ? 1 : 0) + (lbr ? 1 : 0);
  const auto step = [&](BodyBuilder& inner, std::vector<Expr> v) {
    const Expr h = v[0], c = cell.lstm() ? v[1] : Expr{}, in = v[states.size()];
    const Expr weights = inner.Outer(r);
    Step next;
    if (cell.lstm()) {
      next = LstmStep(inner, cell, in, h, c, weights, peephole ? inner.Outer(peephole) : Expr{});
    } else if (cell.gru()) {
      next = GruStep(inner, cell, in, h, weights, new_bias ? inner.Outer(new_bias) : Expr{});
    } else {
      next.hidden = Activate(inner, cell.activations[0], in + Product(inner, h, weights));
    }
    Expr output = next.hidden;
    if (mask) {
      output = inner.Where(v.back(), next.hidden, 0.0);
      next.hidden = inner.Where(v.back(), next.hidden, h);
      if (cell.lstm()) next.cell = inner.Where(v.back(), next.cell, c);
    }
    std::vector<Expr> out = {next.hidden};
    if (cell.lstm()) out.push_back(next.cell);
    out.push_back(output);
    if (cell.lstm()) out.push_back(next.cell);
    if (cell.gates > 1) out.push_back(next.gates);
    if (lbr) out.push_back(next.new_gate);
    return out;
  };
  const std::vector<Expr> out = ScanSteps(body, states, inputs, results, RunsBackwards(body.node(), d), step);
  Unrolled unrolled{.last_hidden = out[0]};
  size_t at = states.size();
  if (cell.lstm()) unrolled.last_cell = out[1];
  unrolled.hidden = out[at++];
  if (cell.lstm()) unrolled.cells = out[at++];
  if (cell.gates > 1) unrolled.gates = out[at++];
  if (lbr) unrolled.new_gates = out[at++];
  return unrolled;
}

// [T, B, n] of each direction as [T, D, B, n].
Expr StackDirections(BodyBuilder& body, const Cell& cell, const std::vector<Expr>& parts, int64_t n) {
  std::vector<Expr> rows;
  for (Expr part : parts) rows.push_back(body.Reshape(part, {cell.steps, 1, cell.batch, n}));
  return body.Concat(rows, 1);
}

}  // namespace

// X W R B lengths h0 c0 P -> Y Y_h Y_c, then the gates, the cell states, the recurrent new gate of all steps.
absl::Status RecurrentBody(BodyBuilder& body) {
  RS_ASSIGN_OR_RETURN(const Cell cell, CellOf(body.node()));
  std::vector<Expr> hidden, cells, gates, new_gates, last_hidden, last_cell;
  for (int64_t d = 0; d < cell.directions; ++d) {
    const Unrolled unrolled = Unroll(body, cell, d);
    hidden.push_back(unrolled.hidden);
    cells.push_back(unrolled.cells);
    gates.push_back(unrolled.gates);
    new_gates.push_back(unrolled.new_gates);
    last_hidden.push_back(unrolled.last_hidden);
    last_cell.push_back(unrolled.last_cell);
  }
  const int own = body.node().num_outputs() - body.node().node().saved_outputs;
  const Expr y = StackDirections(body, cell, hidden, cell.hidden);
  if (own > 0) body.Out(0, cell.batch_first ? body.Transpose(y, {2, 0, 1, 3}) : y);
  if (own > 1) body.Out(1, StackStates(body, cell, last_hidden));
  if (own > 2) body.Out(2, StackStates(body, cell, last_cell));
  int j = own;
  if (cell.gates > 1) body.Out(j++, StackDirections(body, cell, gates, cell.gates * cell.hidden));
  if (cell.lstm()) body.Out(j++, StackDirections(body, cell, cells, cell.hidden));
  if (j < body.node().num_outputs()) body.Out(j, StackDirections(body, cell, new_gates, cell.hidden));
  return absl::OkStatus();
}

namespace {

// Direction d of a saved [T, D, B, n] (or batch first, [B, T, D, n]) tensor: [T, B, n].
Expr OfSaved(BodyBuilder& body, const Cell& cell, Expr saved, int64_t d, int64_t n, bool batch_first = false) {
  if (!saved) return {};
  if (batch_first) saved = body.Transpose(saved, {1, 2, 0, 3});
  return body.Reshape(body.Slice(saved, {d}, {d + 1}, {1}), {cell.steps, cell.batch, n});
}

// What each step found: the tensor one step later, the initial state first. `mask` (if any) says which steps belong to
// the row: what runs backwards finds the initial state at the row's last step.
Expr Before(BodyBuilder& body, const Cell& cell, Expr states, Expr initial, bool backwards, Expr mask) {
  const Expr first = body.Reshape(initial ? initial : body.Zeros(body.DTypeOf(states), {cell.batch, cell.hidden}),
                                  {1, cell.batch, cell.hidden});
  const int64_t n = cell.steps;
  if (backwards && mask) states = body.Where(mask, states, first);
  const Expr rest = backwards ? body.Slice(states, {1}, {n}, {0}) : body.Slice(states, {0}, {n - 1}, {0});
  const Expr parts[] = {backwards ? rest : first, backwards ? first : rest};
  return body.Concat(parts, 0);
}

// The gradients of what the activations were applied to, and those of the states before.
struct StepBack {
  Expr gates, dh, dc;
};

StepBack LstmStepBack(BodyBuilder& body, const Cell& cell, Expr dh, Expr dc, Expr gates, Expr c, Expr c_before, Expr r,
                      Expr peephole) {
  const int64_t n = cell.hidden;
  const Expr i = Gate(body, gates, 0, n), o = Gate(body, gates, 1, n), f = Gate(body, gates, 2, n),
             g = Gate(body, gates, 3, n);
  const Expr squashed = body.Unary("Tanh", c);
  const Expr d_o = dh * squashed * Slope("Sigmoid", o);
  dc = dc + dh * o * Slope("Tanh", squashed);
  if (peephole) dc = dc + d_o * Gate(body, peephole, 1, n);
  const Expr d_i = dc * g * Slope("Sigmoid", i), d_f = dc * c_before * Slope("Sigmoid", f),
             d_g = dc * i * Slope("Tanh", g);
  Expr dc_before = dc * f;
  if (peephole) dc_before = dc_before + d_i * Gate(body, peephole, 0, n) + d_f * Gate(body, peephole, 2, n);
  const Expr parts[] = {d_i, d_o, d_f, d_g};
  const Expr all = body.Concat(parts, -1);
  return {.gates = all, .dh = body.MatMul(all, r), .dc = dc_before};
}

StepBack GruStepBack(BodyBuilder& body, const Cell& cell, Expr dh, Expr gates, Expr new_gate, Expr before, Expr r) {
  const int64_t n = cell.hidden;
  const Expr z = Gate(body, gates, 0, n), reset = Gate(body, gates, 1, n), fresh = Gate(body, gates, 2, n);
  const Expr r_new = body.Slice(r, {2 * n}, {3 * n}, {0}), r_zr = body.Slice(r, {0}, {2 * n}, {0});
  const Expr d_z = dh * (before - fresh) * Slope("Sigmoid", z);
  const Expr d_n = dh * (1.0 - z) * Slope("Tanh", fresh);
  Expr d_r, through_new, recurrent;
  if (cell.linear_before_reset) {
    recurrent = d_n * reset;
    d_r = d_n * new_gate * Slope("Sigmoid", reset);
    through_new = body.MatMul(recurrent, r_new);
  } else {
    const Expr scaled = body.MatMul(d_n, r_new);
    d_r = scaled * before * Slope("Sigmoid", reset);
    through_new = scaled * reset;
  }
  const Expr zr[] = {d_z, d_r};
  const Expr d_zr = body.Concat(zr, -1);
  std::vector<Expr> parts = {d_zr, d_n};
  if (cell.linear_before_reset) parts.push_back(recurrent);
  return {.gates = body.Concat(parts, -1), .dh = dh * z + body.MatMul(d_zr, r_zr) + through_new};
}

// Inputs of "<Op>Grad", as CellGradient lists them.
enum GradSlot { kGradW, kGradR, kDY, kDYh, kDYc, kGates, kCells, kNewGate, kHidden, kLengths, kH0, kC0, kP };

StepBack UnrollBack(BodyBuilder& body, const Cell& cell, int64_t d) {
  const DType dtype = body.DTypeOf(body.In(kGradR));
  const bool backwards = RunsBackwards(body.forward(), d), lbr = cell.gru() && cell.linear_before_reset;
  const Expr r = OfDirection(body, body.In(kGradR), d, {cell.gates * cell.hidden, cell.hidden});
  const Expr peephole = body.In(kP) ? OfDirection(body, body.In(kP), d, {3 * cell.hidden}) : Expr{};
  const Expr zeros = body.Zeros(dtype, {cell.batch, cell.hidden});
  const Expr dh = StateOf(body, cell, body.In(kDYh), d), dc = StateOf(body, cell, body.In(kDYc), d);
  std::vector<Expr> states = {dh ? dh : zeros};
  if (cell.lstm()) states.push_back(dc ? dc : zeros);
  Expr dy = OfSaved(body, cell, body.In(kDY), d, cell.hidden, cell.batch_first);
  if (!dy) dy = body.Zeros(dtype, {cell.steps, cell.batch, cell.hidden});
  std::vector<Expr> inputs = {dy};
  const Expr mask = Mask(body, cell, body.In(kLengths));
  if (cell.gates > 1) inputs.push_back(OfSaved(body, cell, body.In(kGates), d, cell.gates * cell.hidden));
  if (cell.lstm()) {
    const Expr cells = OfSaved(body, cell, body.In(kCells), d, cell.hidden);
    inputs.push_back(cells);
    inputs.push_back(Before(body, cell, cells, StateOf(body, cell, body.In(kC0), d), backwards, mask));
  } else {
    const Expr hidden = OfSaved(body, cell, body.In(kHidden), d, cell.hidden, cell.batch_first);
    const Expr initial = StateOf(body, cell, body.In(kH0), d);
    inputs.push_back(cell.gru() ? Before(body, cell, hidden, initial, backwards, mask) : hidden);
  }
  if (lbr) inputs.push_back(OfSaved(body, cell, body.In(kNewGate), d, cell.hidden));
  if (mask) inputs.push_back(mask);
  const auto step = [&](BodyBuilder& inner, std::vector<Expr> v) {
    const Expr carried = v[0], carried_cell = cell.lstm() ? v[1] : Expr{};
    const Expr* in = v.data() + states.size();
    const Expr total = carried + in[0];
    const Expr weights = inner.Outer(r);
    StepBack back;
    if (cell.lstm()) {
      back = LstmStepBack(inner, cell, total, carried_cell, in[1], in[2], in[3], weights,
                          peephole ? inner.Outer(peephole) : Expr{});
    } else if (cell.gru()) {
      back = GruStepBack(inner, cell, total, in[1], lbr ? in[3] : Expr{}, in[2], weights);
    } else {
      back.gates = total * Slope(cell.activations[0], in[1]);
      back.dh = inner.MatMul(back.gates, weights);
    }
    if (mask) {
      back.gates = inner.Where(v.back(), back.gates, 0.0);
      back.dh = inner.Where(v.back(), back.dh, carried);
      if (cell.lstm()) back.dc = inner.Where(v.back(), back.dc, carried_cell);
    }
    std::vector<Expr> out = {back.dh};
    if (cell.lstm()) out.push_back(back.dc);
    out.push_back(back.gates);
    return out;
  };
  const std::vector<Expr> out = ScanSteps(body, states, inputs, 1, !backwards, step);
  return {.gates = out.back(), .dh = out[0], .dc = cell.lstm() ? out[1] : Expr{}};
}

// The gate gradients that meet X and the bias, and those that meet the hidden state: apart only where the reset gate
// comes after the product.
Expr InputGates(BodyBuilder& body, const Cell& cell, Expr gates) {
  return body.Slice(gates, {0}, {cell.gates * cell.hidden}, {-1});
}

Expr RecurrentGates(BodyBuilder& body, const Cell& cell, Expr gates) {
  if (!cell.gru() || !cell.linear_before_reset) return gates;
  const Expr parts[] = {body.Slice(gates, {0}, {2 * cell.hidden}, {-1}), Gate(body, gates, 3, cell.hidden)};
  return body.Concat(parts, -1);
}

int64_t GateWidth(const Cell& cell) {
  return (cell.gates + (cell.gru() && cell.linear_before_reset ? 1 : 0)) * cell.hidden;
}

}  // namespace

absl::Status RecurrentGradBody(BodyBuilder& body) {
  RS_ASSIGN_OR_RETURN(const Cell cell, CellOf(body.forward()));
  std::vector<Expr> gates, dh, dc;
  Expr dx;
  for (int64_t d = 0; d < cell.directions; ++d) {
    const StepBack back = UnrollBack(body, cell, d);
    gates.push_back(back.gates);
    dh.push_back(back.dh);
    dc.push_back(back.dc);
    if (!body.In(kGradW)) continue;
    const Expr w = OfDirection(body, body.In(kGradW), d, {cell.gates * cell.hidden, cell.input});
    const Expr part = body.MatMul(InputGates(body, cell, back.gates), w);
    dx = dx ? dx + part : part;
  }
  body.Out(0, StackDirections(body, cell, gates, GateWidth(cell)));
  const auto of = body.attributes().Ints("of");
  for (size_t k = 0; k < of.size(); ++k) {
    const int j = static_cast<int>(k) + 1;
    if (of[k] == kX) body.Out(j, StepsFirst(body, cell, dx));
    if (of[k] == kInitialH) body.Out(j, StackStates(body, cell, dh));
    if (of[k] == kInitialC) body.Out(j, StackStates(body, cell, dc));
  }
  return absl::OkStatus();
}

namespace {

// Inputs of "<Op>WeightGrad".
enum WeightGradSlot {
  kWeightX,
  kWeightY,
  kGateGradients,
  kWeightH0,
  kWeightCells,
  kWeightGates,
  kWeightC0,
  kWeightLengths
};

// a^T b over all steps and rows.
Expr SumOfProducts(BodyBuilder& body, const Cell& cell, Expr a, int64_t m, Expr b, int64_t n) {
  const int64_t rows = cell.steps * cell.batch;
  return body.MatMul(body.Transpose(body.Reshape(a, {rows, m}), {1, 0}), body.Reshape(b, {rows, n}));
}

Expr RecurrentWeightGradient(BodyBuilder& body, const Cell& cell, int64_t d, Expr gates) {
  const bool backwards = RunsBackwards(body.forward(), d);
  const int64_t n = cell.hidden, width = cell.gates * n;
  const Expr hidden = OfSaved(body, cell, body.In(kWeightY), d, n, cell.batch_first);
  const Expr mask = Mask(body, cell, body.In(kWeightLengths));
  const Expr before = Before(body, cell, hidden, StateOf(body, cell, body.In(kWeightH0), d), backwards, mask);
  const Expr recurrent = RecurrentGates(body, cell, gates);
  if (!cell.gru() || cell.linear_before_reset) return SumOfProducts(body, cell, recurrent, width, before, n);
  const Expr reset = Gate(body, OfSaved(body, cell, body.In(kWeightGates), d, width), 1, n);
  const Expr parts[] = {SumOfProducts(body, cell, body.Slice(recurrent, {0}, {2 * n}, {-1}), 2 * n, before, n),
                        SumOfProducts(body, cell, Gate(body, recurrent, 2, n), n, reset * before, n)};
  return body.Concat(parts, 0);
}

Expr PeepholeGradient(BodyBuilder& body, const Cell& cell, int64_t d, Expr gates) {
  const int64_t n = cell.hidden;
  const Expr cells = OfSaved(body, cell, body.In(kWeightCells), d, n);
  const Expr initial = StateOf(body, cell, body.In(kWeightC0), d);
  const Expr mask = Mask(body, cell, body.In(kWeightLengths));
  const Expr before = Before(body, cell, cells, initial, RunsBackwards(body.forward(), d), mask);
  const auto summed = [&](int64_t gate, Expr states) {
    return body.ReduceSum(Gate(body, gates, gate, n) * states, {0, 1}, /*keep_dims=*/false);
  };
  const Expr parts[] = {summed(0, before), summed(1, cells), summed(2, before)};
  return body.Concat(parts, 0);
}

Expr BiasGradient(BodyBuilder& body, const Cell& cell, Expr gates) {
  const Expr parts[] = {body.ReduceSum(InputGates(body, cell, gates), {0, 1}, /*keep_dims=*/false),
                        body.ReduceSum(RecurrentGates(body, cell, gates), {0, 1}, /*keep_dims=*/false)};
  return body.Concat(parts, 0);
}

}  // namespace

absl::Status RecurrentWeightGradBody(BodyBuilder& body) {
  RS_ASSIGN_OR_RETURN(const Cell cell, CellOf(body.forward()));
  const auto of = body.attributes().Ints("of");
  for (size_t k = 0; k < of.size(); ++k) {
    const auto j = static_cast<int>(k);
    Shape shape = body.OutShape(j);
    shape[0] = 1;
    std::vector<Expr> parts;
    for (int64_t d = 0; d < cell.directions; ++d) {
      const Expr gates = OfSaved(body, cell, body.In(kGateGradients), d, GateWidth(cell));
      Expr gradient;
      if (of[k] == kW) {
        const Expr x = StepsFirst(body, cell, body.In(kWeightX));
        gradient = SumOfProducts(body, cell, InputGates(body, cell, gates), cell.gates * cell.hidden, x, cell.input);
      } else if (of[k] == kR) {
        gradient = RecurrentWeightGradient(body, cell, d, gates);
      } else {
        gradient = of[k] == kB ? BiasGradient(body, cell, gates) : PeepholeGradient(body, cell, d, gates);
      }
      parts.push_back(body.Reshape(gradient, shape));
    }
    body.Out(j, body.Concat(parts, 0));
  }
  return absl::OkStatus();
}

}  // namespace reusescope
