#include "analysis/plan/program_plan.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <utility>

#include "analysis/ir/status_util.h"
#include "analysis/plan/linear_program.h"

namespace reusescope {
namespace {

// Memory is counted in thousandths of the limit, time in thousandths of a forward pass: what HiGHS's tolerances fit.
constexpr double kScale = 1000;
constexpr int32_t kNever = -1;
// Keys of what one of several outputs takes, below those of what lives on.
constexpr int32_t kOfSeveral = -3;

// A row: sum of coefficients times columns, plus a constant.
struct Terms {
  double constant = 0;
  std::map<int, double> columns;

  void Add(int column, double coefficient) {
    if (column >= 0) columns[column] += coefficient;
  }
};

// Kernels over which a storage lives in the step that keeps everything.
struct Life {
  int32_t first = kNever, last_forward = kNever, last_after = kNever;
};

class Program {
 public:
  Program(const RecomputeModel& model, int64_t memory_bytes)
      : model_(model), memory_(static_cast<double>(memory_bytes)) {
    FindLives();
    FindDemands();
    FindWindows();
  }

  int variables() const { return columns_; }

  absl::StatusOr<ProgramPlan> Solve(const std::optional<KeepSet>& seed, double time_limit_seconds);

 private:
  // ---- What the rows are made of.
  void FindLives();
  void FindDemands();
  void FindWindows();
  int Kept(int32_t candidate) const { return candidate; }
  // Column of z[node, demand], or -1 where it is 0.
  int RunBy(NodeId node, int32_t demand) const {
    const Window& window = windows_[node];
    if (window.column < 0 || demand < window.earliest) return -1;
    return window.column + std::min(demand, window.latest) - window.earliest;
  }
  int Runs(NodeId node) const { return RunBy(node, static_cast<int32_t>(demands_.size())); }
  double Units(int64_t bytes) const { return static_cast<double>(bytes) / memory_ * kScale; }

  // ---- Rows.
  void Build();
  void AddRow(const Terms& terms, double lower, double upper);
  void AddNodeRows();
  void AddMemoryRows();
  void AddPresence(int32_t candidate, int32_t demand, double units, Terms& row);
  Terms AfterTerms(int32_t kernel);
  Terms ForwardTerms(int32_t kernel);
  bool AddTransientRow(const RecomputeModel::Run& run, const std::vector<double>& solution);
  void Exclude(const KeepSet& keep);

  KeepSet KeepOf(const std::vector<double>& solution) const;
  void Offer(const KeepSet& keep);

  struct Window {
    int32_t earliest = INT32_MAX, latest = kNever;
    int column = -1;
  };
  struct Reader {
    int32_t candidate;
    NodeId node;
  };

  const RecomputeModel& model_;
  const double memory_;
  LinearProgram program_;
  int columns_ = 0;                                      // before what memory rows add
  std::vector<Life> lives_;                              // by storage
  std::vector<int64_t> all_kept_bytes_;                  // by kernel
  std::vector<int32_t> demands_;                         // positions
  std::vector<int32_t> demand_of_kernel_;                // the last one up to it, -1
  std::vector<Window> windows_;                          // by node
  std::vector<std::vector<NodeId>> readers_;             // by candidate: forward nodes
  std::vector<int32_t> outputs_;                         // by node: candidates it writes
  std::map<std::pair<int32_t, int32_t>, int> presence_;  // by candidate and demand
  double forward_seconds_ = 0;
};

void Program::FindLives() {
  const CostTable& cost = model_.cost();
  lives_.resize(cost.storages.size());
  for (size_t k = 0; k < cost.kernels.size(); ++k) {
    const bool forward = cost.kernels[k].phase == Phase::kForward;
    for (const Touch& touch : cost.TouchesOf(cost.kernels[k])) {
      Life& life = lives_[touch.storage];
      if (life.first < 0) life.first = touch.reads ? 0 : static_cast<int32_t>(k);
      (forward ? life.last_forward : life.last_after) = static_cast<int32_t>(k);
      if (cost.storages[touch.storage].kept_to_end) life.last_after = static_cast<int32_t>(cost.kernels.size());
    }
    if (forward) forward_seconds_ += model_.seconds(static_cast<int32_t>(k));
  }
  const RecomputeModel::Outcome all = model_.Evaluate(KeepSet(model_.candidates().size(), true));
  for (const RecomputeModel::Run& run : all.runs) all_kept_bytes_.push_back(run.live_bytes);
}

void Program::FindDemands() {
  readers_.resize(model_.candidates().size());
  for (int32_t position = 0; position < model_.num_positions(); ++position) {
    const RecomputeModel::Step& step = model_.steps()[position];
    if (!step.forward && !model_.NeedsOf(step.node).empty()) demands_.push_back(position);
    if (step.kernel >= 0) demand_of_kernel_.push_back(static_cast<int32_t>(demands_.size()) - 1);
    if (!step.forward) continue;
    for (const RecomputeModel::Need& need : model_.NeedsOf(step.node)) readers_[need.candidate].push_back(step.node);
  }
}

// When a node can run again: from the first demand that could ask for it, to the one by which it must have been asked.
void Program::FindWindows() {
  columns_ = static_cast<int>(model_.candidates().size());
  windows_.resize(model_.training().graph.nodes.size());
  outputs_.assign(windows_.size(), 0);
  for (const Candidate& candidate : model_.candidates()) ++outputs_[candidate.producer];
  // The first demand that reads a candidate of that producer; by node and candidate.
  std::map<std::pair<NodeId, int32_t>, int32_t> first_demand;
  for (size_t t = 0; t < demands_.size(); ++t) {
    for (const RecomputeModel::Need& need : model_.NeedsOf(model_.steps()[demands_[t]].node)) {
      first_demand.try_emplace({need.producer, need.candidate}, static_cast<int32_t>(t));
    }
  }
  std::map<std::pair<NodeId, int32_t>, int32_t> latest_through;  // asked for by nodes that run again
  for (int32_t position = model_.num_positions() - 1; position >= 0; --position) {
    const RecomputeModel::Step& step = model_.steps()[position];
    if (!step.forward) continue;
    Window& window = windows_[step.node];
    const auto widen = [&](int32_t candidate) {
      const auto direct = first_demand.find({step.node, candidate});
      const auto through = latest_through.find({step.node, candidate});
      if (direct != first_demand.end()) window.earliest = std::min(window.earliest, direct->second);
      if (direct != first_demand.end()) window.latest = std::max(window.latest, direct->second);
      if (direct == first_demand.end() && through != latest_through.end()) {
        window.latest = std::max(window.latest, through->second);
      }
    };
    for (ValueId output : model_.training().graph.node(step.node).outputs) {
      if (output == kNoValue || model_.training().graph.value(output).storage == kNoStorage) continue;
      const int32_t candidate = model_.CandidateOf(model_.training().graph.value(output).storage);
      if (candidate >= 0) widen(candidate);
    }
    if (window.latest < 0) continue;
    window.column = columns_;
    columns_ += window.latest - window.earliest + 1;
    for (const RecomputeModel::Need& need : model_.NeedsOf(step.node)) {
      int32_t& latest = latest_through.try_emplace({need.producer, need.candidate}, kNever).first->second;
      latest = std::max(latest, window.latest);
      windows_[need.producer].earliest = std::min(windows_[need.producer].earliest, window.earliest);
    }
  }
}

void Program::AddRow(const Terms& terms, double lower, double upper) {
  std::vector<LinearProgram::Term> columns;
  for (const auto& [column, coefficient] : terms.columns) {
    if (coefficient != 0) columns.emplace_back(column, coefficient);
  }
  program_.AddRow(columns, lower - terms.constant, upper - terms.constant);
}

void Program::AddNodeRows() {
  const auto at_least = [&](int asked, int asking, int kept) {
    Terms row;  // asked - asking + kept >= 0; without `asking`, >= 1
    row.Add(asked, 1);
    row.Add(asking, -1);
    row.Add(kept, 1);
    AddRow(row, asking < 0 ? 1 : 0, LinearProgram::kInfinity);
  };
  for (size_t node = 0; node < windows_.size(); ++node) {
    const Window& window = windows_[node];
    if (window.column < 0) continue;
    for (int32_t t = window.earliest; t <= window.latest; ++t) {
      const int column = RunBy(static_cast<NodeId>(node), t);
      if (t > window.earliest) at_least(column, column - 1, -1);
      for (const RecomputeModel::Need& need : model_.NeedsOf(static_cast<NodeId>(node))) {
        at_least(RunBy(need.producer, t), column, Kept(need.candidate));
      }
    }
  }
  std::map<std::pair<NodeId, int32_t>, bool> asked;
  for (size_t t = 0; t < demands_.size(); ++t) {
    for (const RecomputeModel::Need& need : model_.NeedsOf(model_.steps()[demands_[t]].node)) {
      if (!asked.try_emplace({need.producer, need.candidate}, true).second) continue;
      at_least(RunBy(need.producer, static_cast<int32_t>(t)), -1, Kept(need.candidate));
    }
  }
}

// A candidate that no kernel reads any more lives on where a node that reads it runs again later.
void Program::AddPresence(int32_t candidate, int32_t demand, double units, Terms& row) {
  const auto [entry, is_new] = presence_.try_emplace({candidate, demand}, -1);
  if (is_new) {
    const NodeId producer = model_.candidates()[candidate].producer;
    for (NodeId reader : readers_[candidate]) {
      if (windows_[reader].column < 0 || windows_[reader].latest <= demand) continue;
      if (entry->second < 0) {
        entry->second = program_.AddColumn({.upper = 1});
      }
      Terms presence;  // present >= kept + rebuilt + (reader runs later) - 1
      presence.Add(entry->second, 1);
      presence.Add(Kept(candidate), -1);
      presence.Add(RunBy(producer, demand), -1);
      presence.Add(Runs(reader), -1);
      presence.Add(RunBy(reader, demand), 1);
      AddRow(presence, -1, LinearProgram::kInfinity);
    }
  }
  row.Add(entry->second, units);
}

// What lives while a kernel after forward runs.
Terms Program::AfterTerms(int32_t kernel) {
  const int32_t demand = demand_of_kernel_[kernel];
  Terms row{.constant = Units(all_kept_bytes_[kernel])};
  for (size_t c = 0; c < model_.candidates().size(); ++c) {
    const Candidate& candidate = model_.candidates()[c];
    const Life& life = lives_[candidate.storage];
    const double units = Units(candidate.bytes);
    if (life.last_after < kernel) {
      AddPresence(static_cast<int32_t>(c), demand, units, row);
      continue;
    }
    row.constant -= units;
    row.Add(Kept(static_cast<int32_t>(c)), units);
    if (outputs_[candidate.producer] == 1) {
      row.Add(RunBy(candidate.producer, demand), units);
      continue;
    }
    // Of several outputs some may be kept; then running again is no second life.
    const auto [entry, is_new] = presence_.try_emplace({static_cast<int32_t>(c), kOfSeveral - demand}, -1);
    if (is_new && RunBy(candidate.producer, demand) >= 0) {
      entry->second = program_.AddColumn({.upper = 1});
      Terms rebuilt;
      rebuilt.Add(entry->second, 1);
      rebuilt.Add(RunBy(candidate.producer, demand), -1);
      rebuilt.Add(Kept(static_cast<int32_t>(c)), 1);
      AddRow(rebuilt, 0, LinearProgram::kInfinity);
    }
    row.Add(entry->second, units);
  }
  return row;
}

Terms Program::ForwardTerms(int32_t kernel) {
  Terms row{.constant = Units(all_kept_bytes_[kernel])};
  for (size_t c = 0; c < model_.candidates().size(); ++c) {
    const Candidate& candidate = model_.candidates()[c];
    const Life& life = lives_[candidate.storage];
    if (life.first < 0 || life.last_forward >= kernel) continue;
    const double units = Units(candidate.bytes);
    if (life.last_after < 0) {
      AddPresence(static_cast<int32_t>(c), -1, units, row);
      continue;
    }
    row.constant -= units;
    row.Add(Kept(static_cast<int32_t>(c)), units);
  }
  return row;
}

void Program::AddMemoryRows() {
  const CostTable& cost = model_.cost();
  for (size_t k = 0; k < cost.kernels.size(); ++k) {
    const bool forward = cost.kernels[k].phase == Phase::kForward;
    const auto kernel = static_cast<int32_t>(k);
    const Terms row = forward ? ForwardTerms(kernel) : AfterTerms(kernel);
    double most = row.constant;
    for (const auto& [column, units] : row.columns) most += units;
    if (most > kScale) AddRow(row, -LinearProgram::kInfinity, kScale);
  }
}

void Program::Build() {
  for (int column = 0; column < columns_; ++column) program_.AddColumn({.upper = 1});
  for (size_t c = 0; c < model_.candidates().size(); ++c) program_.SetWhole(Kept(static_cast<int32_t>(c)));
  for (size_t node = 0; node < windows_.size(); ++node) {
    const int32_t kernel = model_.KernelOf(static_cast<NodeId>(node));
    if (windows_[node].column < 0 || kernel < 0) continue;
    program_.SetCost(Runs(static_cast<NodeId>(node)), model_.seconds(kernel) / forward_seconds_ * kScale);
  }
  AddNodeRows();
  AddMemoryRows();
}

// Forbids what lived while a kernel ran again, as far as it certainly does: false where that forbids nothing new.
bool Program::AddTransientRow(const RecomputeModel::Run& run, const std::vector<double>& solution) {
  const NodeId node = model_.cost().kernels[run.kernel].node;
  const auto demand =
      static_cast<int32_t>(std::lower_bound(demands_.begin(), demands_.end(), run.position) - demands_.begin());
  int32_t next = model_.steps()[run.position].kernel;  // the kernel that waits
  if (next < 0) return false;
  Terms row{.constant = Units(model_.standing_bytes())};
  const auto& storages = model_.cost().storages;
  for (size_t s = 0; s < storages.size(); ++s) {
    const bool other = model_.CandidateOf(static_cast<StorageId>(s)) < 0;
    const bool lives = lives_[s].first >= 0 && lives_[s].first < next && lives_[s].last_after >= next;
    if (other && lives && !storages[s].persistent && !storages[s].input) row.constant += Units(storages[s].bytes);
  }
  for (size_t c = 0; c < model_.candidates().size(); ++c) {
    const Candidate& candidate = model_.candidates()[c];
    const double units = Units(candidate.bytes);
    const auto needs = model_.NeedsOf(node);
    const bool is_read = std::any_of(needs.begin(), needs.end(), [c](const RecomputeModel::Need& need) {
      return need.candidate == static_cast<int32_t>(c);
    });
    if (is_read || candidate.producer == node) {
      row.constant += units;
    } else if (lives_[candidate.storage].last_after >= next && outputs_[candidate.producer] == 1) {
      row.Add(Kept(static_cast<int32_t>(c)), units);
      const bool earlier = model_.PositionOf(candidate.producer) < model_.PositionOf(node);
      row.Add(RunBy(candidate.producer, earlier ? demand : demand - 1), units);
    }
  }
  double most = row.constant;
  for (const auto& [column, units] : row.columns) most += units;
  // Where the node does not run again at this demand, the row says nothing.
  const double slack = most - kScale;
  row.Add(RunBy(node, demand), slack);
  row.Add(RunBy(node, demand - 1), -slack);
  double found = row.constant;
  for (const auto& [column, units] : row.columns) found += units * solution[column];
  if (found <= (kScale + slack) * (1 + 1e-9)) return false;
  AddRow(row, -LinearProgram::kInfinity, kScale + slack);
  return true;
}

void Program::Exclude(const KeepSet& keep) {
  Terms row;
  for (size_t c = 0; c < keep.size(); ++c) {
    row.constant += keep[c] ? 1 : 0;
    row.Add(Kept(static_cast<int32_t>(c)), keep[c] ? -1 : 1);
  }
  AddRow(row, 1, LinearProgram::kInfinity);
}

KeepSet Program::KeepOf(const std::vector<double>& solution) const {
  KeepSet keep(model_.candidates().size());
  for (size_t c = 0; c < keep.size(); ++c) keep[c] = solution[c] > 0.5;
  return keep;
}

void Program::Offer(const KeepSet& keep) {
  std::vector<LinearProgram::Term> values;
  for (size_t c = 0; c < keep.size(); ++c) values.emplace_back(Kept(static_cast<int32_t>(c)), keep[c] ? 1 : 0);
  program_.Offer(std::move(values));
}

absl::StatusOr<ProgramPlan> Program::Solve(const std::optional<KeepSet>& seed, double time_limit_seconds) {
  const auto begin = std::chrono::steady_clock::now();
  const auto elapsed = [&begin] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  ProgramPlan plan{.state = ProgramPlan::State::kStopped};
  const auto take = [&](const KeepSet& keep) {
    const RecomputeModel::Outcome outcome = model_.Evaluate(keep);
    const bool fits = outcome.peak_bytes <= static_cast<int64_t>(memory_);
    if (fits && (!plan.keep.has_value() || outcome.added_seconds < plan.added_seconds)) {
      plan.keep = keep;
      plan.added_seconds = outcome.added_seconds;
    }
    return fits;
  };
  if (seed.has_value()) take(*seed);
  Build();
  while (plan.state == ProgramPlan::State::kStopped && elapsed() < time_limit_seconds) {
    if (plan.keep.has_value()) Offer(*plan.keep);
    RS_ASSIGN_OR_RETURN(const LinearProgram::Solution solution,
                        program_.Minimize({.seconds = time_limit_seconds - elapsed()}));
    if (solution.state == LinearProgram::Solution::State::kInfeasible) {
      // Every set that was excluded did not fit, so nothing but what is found already does.
      plan.state = plan.keep.has_value() ? ProgramPlan::State::kOptimal : ProgramPlan::State::kInfeasible;
      plan.bound_seconds = plan.added_seconds;
      break;
    }
    plan.bound_seconds = std::max(plan.bound_seconds, solution.bound / kScale * forward_seconds_);
    if (solution.values.empty()) break;
    const KeepSet keep = KeepOf(solution.values);
    const bool fits = take(keep);
    if (solution.state != LinearProgram::Solution::State::kOptimal) break;
    if (fits) {
      plan.state = ProgramPlan::State::kOptimal;
      break;
    }
    bool forbidden = false;
    for (const RecomputeModel::Run& run : model_.Evaluate(keep).runs) {
      if (run.again && run.live_bytes > static_cast<int64_t>(memory_))
        forbidden |= AddTransientRow(run, solution.values);
    }
    if (!forbidden) Exclude(keep);
  }
  plan.bound_seconds = std::min(plan.bound_seconds, plan.added_seconds);
  plan.variables = program_.num_columns();
  plan.solve_seconds = elapsed();
  return plan;
}

}  // namespace

absl::StatusOr<ProgramPlan> SolveProgram(const RecomputeModel& model, int64_t memory_bytes,
                                         const std::optional<KeepSet>& seed, const ProgramOptions& options) {
  if (memory_bytes <= 0) return ProgramPlan{.state = ProgramPlan::State::kInfeasible};
  Program program(model, memory_bytes);
  if (program.variables() > options.max_variables) return ProgramPlan{.variables = program.variables()};
  return program.Solve(seed, options.time_limit_seconds);
}

}  // namespace reusescope
