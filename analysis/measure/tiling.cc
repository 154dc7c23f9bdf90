#include "analysis/measure/tiling.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "analysis/ir/status_util.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// An operand of extents u x v that stays in tiles, and the two that pass by: one has u (and is fetched in every pass
// over v), the other v.
struct Stationary {
  int64_t u = 1, v = 1;
  double tile_width = 0, u_width = 0, v_width = 0;  // bytes of an element: of the tile, of what has u, of what has v
  bool sums_have_u = false, sums_have_v = false;    // the operand that passes by is C, and accumulates
  int64_t tile_bytes = 0, u_bytes = 0, v_bytes = 0;
};

double Passes(int64_t passes, bool accumulates) { return static_cast<double>(accumulates ? 2 * passes - 1 : passes); }

// The least over tile sizes. Only the tile that divides u into p passes evenly, for every p, can be best.
std::optional<double> Least(Stationary s, double capacity) {
  if (s.u > s.v) {
    std::swap(s.u, s.v);
    std::swap(s.u_width, s.v_width);
    std::swap(s.u_bytes, s.v_bytes);
    std::swap(s.sums_have_u, s.sums_have_v);
  }
  std::optional<double> best;
  for (int64_t passes = 1; passes <= s.u;) {
    const int64_t tile_u = CeilDivide(s.u, passes);
    const auto width_u = static_cast<double>(tile_u);
    // tile_u * tile_v * tile_width + tile_u * u_width + tile_v * v_width <= capacity
    const double fits = (capacity - width_u * s.u_width) / (width_u * s.tile_width + s.v_width);
    if (fits >= 1) {
      const int64_t tile_v = fits >= static_cast<double>(s.v) ? s.v : static_cast<int64_t>(fits);
      const double moved = static_cast<double>(s.tile_bytes) +
                           static_cast<double>(s.u_bytes) * Passes(CeilDivide(s.v, tile_v), s.sums_have_u) +
                           static_cast<double>(s.v_bytes) * Passes(CeilDivide(s.u, tile_u), s.sums_have_v);
      if (!best.has_value() || moved < *best) best = moved;
    }
    if (tile_u == 1) break;
    passes = CeilDivide(s.u, tile_u - 1);  // the fewest that a smaller tile takes
  }
  return best;
}

// At most what int64 holds.
int64_t Bytes(double bytes) {
  constexpr auto kMost = static_cast<double>(std::numeric_limits<int64_t>::max());
  return bytes >= kMost ? std::numeric_limits<int64_t>::max() : static_cast<int64_t>(bytes);
}

// Is every combination of the terms' loops a position of its own?
bool Injective(const Kernel& kernel, const IndexExpr& expr) {
  if (expr.terms.size() < 2) return true;
  const LoopTerm& x = expr.terms[0];
  const LoopTerm& y = expr.terms[1];
  const LoopTerm& outer = x.stride >= y.stride ? x : y;
  const LoopTerm& inner = x.stride >= y.stride ? y : x;
  return (kernel.loops[inner.loop].trip - 1) * inner.stride < outer.stride;
}

std::vector<bool> LoopsOf(const Kernel& kernel, const Access& access, bool injective_only) {
  std::vector<bool> loops(kernel.loops.size(), false);
  for (const IndexExpr& expr : access.index) {
    if (injective_only && !Injective(kernel, expr)) continue;
    for (const LoopTerm& term : expr.terms) loops[term.loop] = true;
  }
  return loops;
}

// The two inputs and the output of a contraction; false where there are others of the kind.
bool Operands(const Kernel& kernel, const Access*& a, const Access*& b, const Access*& c) {
  for (const Access& access : kernel.accesses) {
    if (!access.affine) continue;
    const Access** place = access.writes ? &c : a == nullptr ? &a : b == nullptr ? &b : nullptr;
    if (place == nullptr || *place != nullptr) continue;  // a bias comes after the two inputs
    *place = &access;
  }
  return a != nullptr && b != nullptr && c != nullptr;
}

ValueId ValueOf(const Node& node, const Access& access) {
  if (access.is_output) return node.outputs[access.slot];
  const auto inputs = static_cast<int>(node.inputs.size());
  return access.slot < inputs ? node.inputs[access.slot] : node.captures[access.slot - inputs];
}

// Bytes of the operand as the cost table has them.
int64_t BytesOf(const Graph& graph, const CostTable& cost, const KernelCost& row, const Access& access) {
  const StorageId storage = graph.value(ValueOf(graph.node(row.node), access)).storage;
  for (const Touch& touch : cost.TouchesOf(row)) {
    if (touch.storage == storage) return touch.bytes;
  }
  return 0;
}

}  // namespace

std::optional<int64_t> TiledTrafficBytes(const MatrixProduct& p, int64_t capacity_bytes) {
  const auto capacity = static_cast<double>(capacity_bytes);
  const Stationary choices[] = {
      {p.m, p.n, p.c_width, p.a_width, p.b_width, false, false, p.c_bytes, p.a_bytes, p.b_bytes},
      {p.m, p.k, p.a_width, p.c_width, p.b_width, true, false, p.a_bytes, p.c_bytes, p.b_bytes},
      {p.k, p.n, p.b_width, p.a_width, p.c_width, false, true, p.b_bytes, p.a_bytes, p.c_bytes}};
  std::optional<double> best;
  for (const Stationary& choice : choices) {
    const std::optional<double> moved = Least(choice, capacity);
    if (moved.has_value() && (!best.has_value() || *moved < *best)) best = moved;
  }
  if (!best.has_value()) return std::nullopt;
  return Bytes(*best + static_cast<double>(p.other_bytes));
}

int64_t UntiledTrafficBytes(const MatrixProduct& p) {
  return Bytes(static_cast<double>(p.a_bytes) * static_cast<double>(p.n) +
               static_cast<double>(p.b_bytes) * static_cast<double>(p.m) +
               static_cast<double>(p.c_bytes + p.other_bytes));
}

std::optional<MatrixProduct> ProductOf(const Kernel& kernel) {
  const Access *a = nullptr, *b = nullptr, *c = nullptr;
  if (!kernel.contraction || !Operands(kernel, a, b, c)) return std::nullopt;
  const std::vector<bool> in_a = LoopsOf(kernel, *a, false), in_b = LoopsOf(kernel, *b, false);
  const std::vector<bool> in_c = LoopsOf(kernel, *c, true), in_c_at_all = LoopsOf(kernel, *c, false);
  // Of overlapping windows of the output (a convolution's dX), the weight has the taps, the other input the positions.
  const std::vector<bool>& taps = b->role == Role::kW ? in_b : in_a;
  MatrixProduct product;
  for (size_t l = 0; l < kernel.loops.size(); ++l) {
    const int64_t trip = std::max<int64_t>(kernel.loops[l].trip, 1);
    if (in_c_at_all[l] && !in_c[l] && !taps[l]) continue;  // positions are counted as elements of the output
    int64_t& extent = !in_c[l] ? product.k : !in_b[l] ? product.m : !in_a[l] ? product.n : product.batch;
    extent *= trip;
  }
  const int64_t elements = DistinctElements(kernel, *c);
  int64_t& positions = &taps == &in_b ? product.m : product.n;
  const int64_t rest = product.batch * product.m * product.n / positions;
  positions = std::max(positions, elements / rest);
  return product;
}

absl::StatusOr<std::vector<std::optional<MatrixProduct>>> ProductsOf(const TrainingGraph& training,
                                                                     const CostTable& cost) {
  const Graph& graph = training.graph;
  std::vector<std::optional<MatrixProduct>> products(cost.kernels.size());
  for (size_t i = 0; i < cost.kernels.size(); ++i) {
    const KernelCost& row = cost.kernels[i];
    const OpSemantics* semantics = OpRegistry::Get().Find(graph.node(row.node).op);
    if (!row.contraction || semantics == nullptr || semantics->kernel == nullptr) continue;
    RS_ASSIGN_OR_RETURN(const Kernel kernel, semantics->kernel(OpContext(graph, row.node, *semantics)));
    std::optional<MatrixProduct> product = ProductOf(kernel);
    if (!product.has_value()) continue;
    const Access *a = nullptr, *b = nullptr, *c = nullptr;
    Operands(kernel, a, b, c);
    const auto fill = [&](const Access& access, int64_t& bytes, double& width) {
      bytes = BytesOf(graph, cost, row, access);
      width = static_cast<double>(bytes) / static_cast<double>(std::max<int64_t>(DistinctElements(kernel, access), 1));
    };
    fill(*a, product->a_bytes, product->a_width);
    fill(*b, product->b_bytes, product->b_width);
    fill(*c, product->c_bytes, product->c_width);
    product->other_bytes = std::max<int64_t>(0, row.bytes() - product->a_bytes - product->b_bytes - product->c_bytes);
    products[i] = product;
  }
  return products;
}

}  // namespace reusescope
