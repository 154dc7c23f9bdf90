#include "analysis/plan/checkpoint_plan.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "analysis/ir/status_util.h"

namespace reusescope {
namespace {

// Touches that filling up may visit, and how often a plan is made anew because the step took more than it said.
constexpr double kAffordableTouches = 6e7;
constexpr int kAttempts = 6;

double WorkOf(const KernelCost& kernel, const std::optional<RooflineDevice>& device) {
  if (device.has_value()) return KernelSeconds(kernel, *device);
  return static_cast<double>(kernel.flops) + static_cast<double>(kFlopsPerTranscendental * kernel.transcendentals);
}

std::string InBytes(int64_t bytes) {
  const bool large = bytes >= int64_t{1} << 30;
  return absl::StrFormat("%d B (%.2f %s)", bytes, static_cast<double>(bytes) / (large ? 1 << 30 : 1 << 20),
                         large ? "GiB" : "MiB");
}

}  // namespace

absl::string_view PlanMethodName(PlanMethod method) {
  constexpr absl::string_view kNames[] = {"keep all", "sqrt", "chain", "program"};
  return kNames[static_cast<size_t>(method)];
}

absl::StatusOr<Planner> Planner::Make(ModelLoader load, AnalysisOptions options, std::optional<RooflineDevice> device) {
  if (options.mode != Mode::kTraining) {
    return absl::InvalidArgumentError("a plan keeps values for backward, expected --mode=training");
  }
  Planner planner;
  options.checkpoint = {};
  planner.load_ = std::move(load);
  planner.options_ = options;
  planner.device_ = std::move(device);
  RS_ASSIGN_OR_RETURN(Model model, planner.load_());
  planner.step_ = std::make_unique<Analysis>();
  RS_ASSIGN_OR_RETURN(*planner.step_, AnalyzeMemory(std::move(model), options));
  const Analysis& step = *planner.step_;
  std::vector<double> work;
  for (const KernelCost& kernel : step.cost.kernels) work.push_back(WorkOf(kernel, planner.device_));
  planner.model_ = std::make_unique<RecomputeModel>(step.training, step.cost, step.memory, std::move(work));
  planner.chain_ = std::make_unique<ChainPlanner>(*planner.model_, ChainCuts(*planner.model_, step.blocks));
  // The least that fits, to a thousandth.
  int64_t fails = 0, fits = planner.keep_all_bytes();
  while (fits - fails > fits / 1000 + 1) {
    const int64_t middle = fails + (fits - fails) / 2;
    const std::optional<KeepSet> keep = planner.ChainKeep(middle);
    if (keep.has_value()) {
      fits = planner.model_->Evaluate(*keep).peak_bytes;
    } else {
      fails = middle;
    }
  }
  planner.least_bytes_ = std::min(fits, planner.model_->Evaluate(planner.SqrtKeep()).peak_bytes);
  return planner;
}

double Planner::Work(const CostTable& cost, Phase phase) const {
  double work = 0;
  for (const KernelCost& kernel : cost.kernels) work += kernel.phase == phase ? WorkOf(kernel, device_) : 0;
  return work;
}

KeepSet Planner::SqrtKeep() const {
  const std::vector<bool> values =
      ValuesToKeep(step_->training, {.kind = CheckpointPolicy::Kind::kSqrt}).value();  // no module, no error
  KeepSet keep(model_->candidates().size(), false);
  for (size_t id = 0; id < values.size(); ++id) {
    const StorageId storage = step_->training.graph.value(static_cast<ValueId>(id)).storage;
    const int32_t candidate = values[id] && storage != kNoStorage ? model_->CandidateOf(storage) : -1;
    if (candidate >= 0) keep[candidate] = true;
  }
  return keep;
}

// Where branches hold more than a chain would, the result is over the limit: again with a lower one.
std::optional<KeepSet> Planner::ChainKeep(int64_t memory_bytes) const {
  int64_t limit = memory_bytes;
  for (int attempt = 0; attempt < kAttempts && limit > 0; ++attempt) {
    KeepSet keep;
    if (!chain_->Plan(limit, keep)) return std::nullopt;
    const int64_t peak = model_->Evaluate(keep).peak_bytes;
    if (peak <= memory_bytes) return keep;
    limit -= peak - memory_bytes;
  }
  return std::nullopt;
}

// Candidates, the one whose own recomputation costs most per byte first.
std::vector<int32_t> Planner::ByWorth() const {
  std::vector<int32_t> candidates(model_->candidates().size());
  std::iota(candidates.begin(), candidates.end(), 0);
  const auto worth = [this](int32_t c) {
    const Candidate& candidate = model_->candidates()[c];
    return candidate.seconds / static_cast<double>(std::max<int64_t>(1, candidate.bytes));
  };
  std::stable_sort(candidates.begin(), candidates.end(), [&](int32_t a, int32_t b) { return worth(a) > worth(b); });
  return candidates;
}

// Everything but what costs least per byte, as much of it as it takes to fit.
std::optional<KeepSet> Planner::CheapestDropped(int64_t memory_bytes) const {
  const std::vector<int32_t> by_worth = ByWorth();
  const auto dropping = [&](size_t count) {
    KeepSet some(by_worth.size(), true);
    for (size_t i = 0; i < count; ++i) some[by_worth[by_worth.size() - 1 - i]] = false;
    return some;
  };
  const size_t step = std::max<size_t>(1, by_worth.size() / 256);
  for (size_t count = step; count < by_worth.size() + step; count += step) {
    KeepSet some = dropping(std::min(count, by_worth.size()));
    if (model_->Evaluate(some).peak_bytes <= memory_bytes) return some;
  }
  return std::nullopt;
}

KeepSet Planner::Fill(KeepSet keep, int64_t memory_bytes) const {
  std::vector<int32_t> dropped = ByWorth();
  dropped.erase(std::remove_if(dropped.begin(), dropped.end(), [&keep](int32_t c) { return keep[c]; }), dropped.end());
  const double touches = std::max<double>(1, static_cast<double>(step_->cost.touches.size()));
  const auto affordable = static_cast<size_t>(std::max(64.0, kAffordableTouches / touches));
  if (dropped.size() > affordable) dropped.resize(affordable);
  double added = model_->Evaluate(keep).added_seconds;
  for (int32_t candidate : dropped) {
    keep[candidate] = true;
    const RecomputeModel::Outcome outcome = model_->Evaluate(keep);
    if (outcome.peak_bytes <= memory_bytes && outcome.added_seconds < added) {
      added = outcome.added_seconds;
    } else {
      keep[candidate] = false;
    }
  }
  return keep;
}

std::optional<KeepSet> Planner::Segments(int64_t memory_bytes) const {
  std::optional<KeepSet> best;
  double least = 0;
  const auto offer = [&](KeepSet keep) {
    keep = Fill(std::move(keep), memory_bytes);
    const double added = model_->Evaluate(keep).added_seconds;
    if (best.has_value() && added >= least) return;
    best = std::move(keep);
    least = added;
  };
  if (std::optional<KeepSet> chain = ChainKeep(memory_bytes)) offer(*std::move(chain));
  if (std::optional<KeepSet> dropped = CheapestDropped(memory_bytes)) offer(*std::move(dropped));
  KeepSet segments = SqrtKeep();
  if (model_->Evaluate(segments).peak_bytes <= memory_bytes) offer(std::move(segments));
  return best;
}

std::vector<std::string> Planner::NamesOf(const KeepSet& keep) const {
  std::vector<std::string> names;
  for (size_t c = 0; c < keep.size(); ++c) {
    if (keep[c]) names.push_back(step_->training.graph.value(model_->candidates()[c].value).name);
  }
  return names;
}

absl::StatusOr<PlannedStep> Planner::Build(PlanMethod method, const KeepSet& keep, int64_t memory_bytes) const {
  PlannedStep planned{.method = method, .keep = NamesOf(model_->Needed(keep))};
  AnalysisOptions options = options_;
  options.checkpoint = {.kind = CheckpointPolicy::Kind::kValues, .values = planned.keep};
  RS_ASSIGN_OR_RETURN(Model model, load_());
  RS_ASSIGN_OR_RETURN(const Analysis built, AnalyzeMemory(std::move(model), options));
  planned.peak_bytes = built.memory.peak_bytes;
  planned.added = Work(built.cost, Phase::kRecompute);
  planned.recomputed_kernels =
      std::count_if(built.cost.kernels.begin(), built.cost.kernels.end(),
                    [](const KernelCost& kernel) { return kernel.phase == Phase::kRecompute; });
  planned.fits = planned.peak_bytes <= memory_bytes;
  return planned;
}

absl::StatusOr<std::optional<PlannedStep>> Planner::BuildSegments(int64_t memory_bytes, KeepSet& keep) const {
  int64_t limit = memory_bytes;
  for (int attempt = 0; attempt < kAttempts && limit > 0; ++attempt) {
    const std::optional<KeepSet> found = Segments(limit);
    if (!found.has_value()) break;
    RS_ASSIGN_OR_RETURN(PlannedStep planned, Build(PlanMethod::kChain, *found, memory_bytes));
    keep = *found;
    if (planned.fits) return planned;
    limit -= planned.peak_bytes - memory_bytes;
  }
  return std::nullopt;
}

std::vector<TradePoint> Planner::Trade(int points) const {
  std::vector<TradePoint> trade;
  const int64_t least = least_bytes_, most = keep_all_bytes();
  for (int i = 0; i + 1 < points; ++i) {
    const int64_t limit = least + (most - least) / (points - 1) * i;
    const std::optional<KeepSet> keep = Segments(limit);
    if (!keep.has_value()) continue;
    const RecomputeModel::Outcome outcome = model_->Evaluate(*keep);
    // What takes more and adds no less is no trade.
    if (!trade.empty() && outcome.added_seconds >= trade.back().added) continue;
    if (!trade.empty() && outcome.peak_bytes <= trade.back().peak_bytes) trade.pop_back();
    trade.push_back({outcome.peak_bytes, outcome.added_seconds});
  }
  if (points > 0) trade.push_back({most, 0});
  return trade;
}

absl::StatusOr<CheckpointPlan> Planner::Plan(int64_t memory_bytes, const PlanOptions& options) const {
  CheckpointPlan plan{.memory_bytes = memory_bytes, .batch = BatchOf(step_->training.graph)};
  for (Phase phase : {Phase::kForward, Phase::kBackward, Phase::kUpdate}) plan.step += Work(step_->cost, phase);
  plan.methods.push_back(
      {.method = PlanMethod::kKeepAll, .fits = keep_all_bytes() <= memory_bytes, .peak_bytes = keep_all_bytes()});
  const KeepSet all = model_->Needed(KeepSet(model_->candidates().size(), true));
  plan.methods[0].keep = NamesOf(all);
  plan.trade = Trade(options.trade_points);
  if (plan.methods[0].fits) return plan;

  RS_ASSIGN_OR_RETURN(PlannedStep sqrt, Build(PlanMethod::kSqrt, SqrtKeep(), memory_bytes));
  plan.methods.push_back(std::move(sqrt));
  KeepSet keep;
  RS_ASSIGN_OR_RETURN(std::optional<PlannedStep> chain, BuildSegments(memory_bytes, keep));
  std::optional<KeepSet> seed;
  if (chain.has_value()) seed = keep;
  if (chain.has_value()) plan.methods.push_back(*std::move(chain));
  if (options.program) {
    RS_ASSIGN_OR_RETURN(plan.program, SolveProgram(*model_, memory_bytes, seed, options.program_options));
    if (plan.program->keep.has_value()) {
      RS_ASSIGN_OR_RETURN(PlannedStep program, Build(PlanMethod::kProgram, *plan.program->keep, memory_bytes));
      plan.methods.push_back(std::move(program));
    }
  }
  for (size_t i = 1; i < plan.methods.size(); ++i) {
    const PlannedStep& planned = plan.methods[i];
    if (planned.fits && (plan.best == 0 || planned.added < plan.Best().added)) plan.best = i;
  }
  if (plan.best > 0) return plan;
  return absl::FailedPreconditionError(
      absl::StrCat(step_->facts.file, ": nothing fits ", InBytes(memory_bytes), " at batch ", plan.batch,
                   ": keeping everything takes ", InBytes(keep_all_bytes()), ", the least with recomputation is ",
                   InBytes(least_bytes_),
                   "; expected that much memory, or a smaller --batch ('--batch=auto' finds "
                   "the largest that fits), or 16-bit values (--precision)"));
}

absl::StatusOr<int64_t> LargestPlannedBatch(const ModelLoader& load, AnalysisOptions options, int64_t memory_bytes,
                                            int64_t from) {
  const auto least = [&](int64_t batch) -> absl::StatusOr<int64_t> {
    options.shapes.batch = batch;
    RS_ASSIGN_OR_RETURN(const Planner planner, Planner::Make(load, options, std::nullopt));
    return planner.least_bytes();
  };
  int64_t fits = from, fails = 0;
  int64_t last_bytes = 0, last_batch = 0;
  // Least peaks are nearly a line in the batch: the next guess is where it meets the memory, at most eightfold.
  int64_t guess = std::max<int64_t>(1, from);
  while (fails == 0 || fails - fits > 1) {
    if (guess <= fits && fits > 0 && last_batch != 0) guess = fits + 1;
    if (fails > 0 && guess >= fails) guess = fails - 1;
    RS_ASSIGN_OR_RETURN(const int64_t bytes, least(guess));
    const double slope = last_batch != 0 && last_batch != guess
                             ? static_cast<double>(bytes - last_bytes) / static_cast<double>(guess - last_batch)
                             : static_cast<double>(bytes) / static_cast<double>(guess);
    (bytes <= memory_bytes ? fits : fails) = guess;
    if (fails == 1) return 0;
    last_bytes = bytes;
    last_batch = guess;
    if (slope <= 0) return fits;  // does not depend on the batch
    const double meets = static_cast<double>(guess) + static_cast<double>(memory_bytes - bytes) / slope;
    guess = std::clamp<int64_t>(static_cast<int64_t>(std::min(meets, 1e12)), fits + 1, std::max(8 * fits, fits + 1));
  }
  return fits;
}

}  // namespace reusescope
