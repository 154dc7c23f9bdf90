#include "analysis/pipeline.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/status_util.h"
#include "analysis/ir/verify.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/transform/assign_storages.h"
#include "analysis/transform/checkpoint.h"
#include "analysis/transform/differentiate.h"
#include "analysis/transform/fake_quantize.h"
#include "analysis/transform/find_parameters.h"
#include "analysis/transform/fold_constants.h"
#include "analysis/transform/prefer_kept.h"
#include "analysis/transform/recognize.h"

namespace reusescope {
namespace {

constexpr absl::string_view kStageNames[] = {"load", "shapes", "recognize", "differentiate", "optimizer"};

absl::Status VerifyInDebug([[maybe_unused]] const Graph& graph, [[maybe_unused]] Stage stage) {
#ifdef NDEBUG
  return absl::OkStatus();
#else
  return Verify(graph, kStageNames[static_cast<size_t>(stage)], stage != Stage::kLoad);
#endif
}

ModelFacts FactsOf(const Model& model) {
  ModelFacts facts{.file = model.file, .producer = model.producer, .ir_version = model.ir_version};
  facts.opsets.assign(model.graph.opsets.begin(), model.graph.opsets.end());
  std::sort(facts.opsets.begin(), facts.opsets.end());
  facts.nodes = static_cast<int64_t>(model.graph.order.size());
  return facts;
}

int64_t ParameterTensors(const Graph& graph) {
  return std::count_if(graph.values.begin(), graph.values.end(), [](const Value& value) {
    return value.kind == ValueKind::kParameter && value.producer == kNoNode;
  });
}

void NoteRestoredDropout(const RecognizedCounts& recognized, std::vector<std::string>& notes) {
  const auto restored = recognized.find(std::string(kRestoredDropout));
  if (restored == recognized.end()) return;
  notes.push_back(
      absl::StrCat(restored->second,
                   " Dropout nodes behind a Softmax do not say that they train while others do, as PyTorch's "
                   "exporter leaves it out inside attention; they are taken to train"));
}

void NoteFakeQuantize(int pairs, std::vector<std::string>& notes) {
  if (pairs == 0) return;
  notes.push_back(absl::StrCat(pairs, pairs == 1 ? " pair" : " pairs",
                               " of QuantizeLinear and DequantizeLinear train as fake quantization, gradients going "
                               "straight through the rounding"));
}

}  // namespace

absl::StatusOr<Stage> StageFromName(absl::string_view name) {
  for (size_t i = 0; i < std::size(kStageNames); ++i) {
    if (kStageNames[i] == name) return static_cast<Stage>(i);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("stage '", name, "' is unknown, expected one of ", absl::StrJoin(kStageNames, ", ")));
}

namespace {

absl::StatusOr<TrainingGraph> BuildStages(Model model, const AnalysisOptions& options, Stage last,
                                          std::vector<std::string>& notes) {
  notes.insert(notes.end(), model.warnings.begin(), model.warnings.end());
  TrainingGraph training;
  if (last != Stage::kLoad) {
    RS_RETURN_IF_ERROR(ResolveShapes(model, options.shapes, notes));
  }
  training.graph = std::move(model.graph);
  Graph& graph = training.graph;
  RS_RETURN_IF_ERROR(VerifyInDebug(graph, std::min(last, Stage::kShapes)));
  if (last <= Stage::kShapes) return training;

  if (options.mode == Mode::kTraining) NoteFakeQuantize(FuseFakeQuantize(graph), notes);
  RS_RETURN_IF_ERROR(FindParameters(graph, {.freeze = options.freeze, .train = options.train}, notes));
  RS_RETURN_IF_ERROR(FoldConstants(graph));
  if (options.recognize) {
    RS_ASSIGN_OR_RETURN(training.recognized, Recognize(graph, {.inference = options.mode == Mode::kInference}));
    NoteRestoredDropout(training.recognized, notes);
  }
  RS_RETURN_IF_ERROR(LowerComposites(graph));
  RS_RETURN_IF_ERROR(VerifyInDebug(graph, Stage::kRecognize));
  if (last >= Stage::kDifferentiate && options.mode == Mode::kTraining) {
    // What a step has beside the forward graph: a gradient of nearly every value, two states of every parameter and
    // what the update makes of all three. Room for it at once, so that a large graph moves once.
    graph.values.reserve(5 * graph.values.size());
    graph.nodes.reserve(4 * graph.nodes.size());
    RS_RETURN_IF_ERROR(AttachLoss(training, options.loss));
    const double seed_scale = options.gradients.loss_scale / static_cast<double>(options.gradients.accumulate);
    RS_RETURN_IF_ERROR(Differentiate(training, {.inputs = options.input_gradients, .seed_scale = seed_scale}));
    AssignStorages(graph);
    PreferKept(training);
    if (options.checkpoint.kind != CheckpointPolicy::Kind::kNone) {
      AssignStorages(graph);
      RS_ASSIGN_OR_RETURN(const std::vector<bool> keep, ValuesToKeep(training, options.checkpoint));
      Recompute(training, keep);
    }
    RS_RETURN_IF_ERROR(VerifyInDebug(graph, Stage::kDifferentiate));
    if (last >= Stage::kOptimizer) {
      RS_RETURN_IF_ERROR(AttachOptimizer(training, options.optimizer, options.update_order, options.optimizer_settings,
                                         options.gradients));
    }
  }
  AssignStorages(graph);
  if (last >= Stage::kDifferentiate) RS_RETURN_IF_ERROR(ChooseOrder(training, options.order, options.precision, notes));
  RS_RETURN_IF_ERROR(VerifyInDebug(graph, last));
  return training;
}

}  // namespace

namespace {

absl::StatusOr<Analysis> BuildAndMeasure(Model model, const AnalysisOptions& options) {
  Analysis analysis{.facts = FactsOf(model), .options = options};
  RS_ASSIGN_OR_RETURN(analysis.training, BuildStages(std::move(model), options, Stage::kOptimizer, analysis.notes));
  const Graph& graph = analysis.training.graph;
  std::future<BlockTable> blocks = std::async(std::launch::async, [&graph] { return FindBlocks(graph); });
  RS_ASSIGN_OR_RETURN(analysis.cost, ComputeCost(analysis.training, {.precision = options.precision}));
  RS_ASSIGN_OR_RETURN(analysis.memory, ComputeMemory(analysis.training, analysis.cost,
                                                     {.precision = options.precision,
                                                      .dropout_mask_bytes = options.dropout_mask_bytes}));
  analysis.coverage = CoverageOf(graph, analysis.cost);
  analysis.facts.parameters = ParameterCount(graph);
  analysis.facts.parameter_tensors = ParameterTensors(graph);
  analysis.blocks = blocks.get();
  return analysis;
}

absl::Status AddReuse(Analysis& analysis) {
  // The cache curves take as long as the reuse table and share nothing with it but the cost.
  std::future<absl::Status> curves = std::async(std::launch::async, [&analysis]() -> absl::Status {
    RS_ASSIGN_OR_RETURN(analysis.lru, ComputeLruCurve(analysis.cost));
    RS_ASSIGN_OR_RETURN(analysis.managed, ComputeManagedCurve(analysis.cost, analysis.lru));
    return absl::OkStatus();
  });
  RS_ASSIGN_OR_RETURN(analysis.reuse, ComputeReuse(analysis.training, analysis.cost, analysis.blocks));
  return curves.get();
}

}  // namespace

absl::StatusOr<TrainingGraph> BuildGraph(Model model, const AnalysisOptions& options, Stage last,
                                         std::vector<std::string>& notes) {
  const std::string file = model.file;
  absl::StatusOr<TrainingGraph> training = BuildStages(std::move(model), options, last, notes);
  return training.ok() ? std::move(training) : Annotate(training.status(), file);
}

absl::StatusOr<Analysis> AnalyzeMemory(Model model, const AnalysisOptions& options) {
  const std::string file = model.file;
  absl::StatusOr<Analysis> analysis = BuildAndMeasure(std::move(model), options);
  return analysis.ok() ? std::move(analysis) : Annotate(analysis.status(), file);
}

absl::StatusOr<Analysis> Analyze(Model model, const AnalysisOptions& options) {
  RS_ASSIGN_OR_RETURN(Analysis analysis, AnalyzeMemory(std::move(model), options));
  if (const absl::Status status = AddReuse(analysis); !status.ok()) return Annotate(status, analysis.facts.file);
  return analysis;
}

Coverage CoverageOf(const Graph& graph, const CostTable& cost) {
  Coverage coverage;
  absl::btree_map<std::string, UnknownOperator> unknown;
  for (const KernelCost& kernel : cost.kernels) {
    ++coverage.nodes;
    coverage.bytes += kernel.bytes();
    if (kernel.known) {
      ++coverage.known_nodes;
      coverage.known_bytes += kernel.bytes();
      continue;
    }
    const Node& node = graph.node(kernel.node);
    UnknownOperator& row = unknown[OpKeyString(node.op)];
    row.op = OpKeyString(node.op);
    if (row.nodes++ == 0) row.example = node.name;
    row.bytes += kernel.bytes();
  }
  for (auto& [op, row] : unknown) coverage.unknown_operators.push_back(std::move(row));
  return coverage;
}

int64_t BatchOf(const Graph& graph) {
  if (graph.inputs.empty()) return 1;
  const Type& type = graph.value(graph.inputs[0]).type;
  return type.has_shape && !type.shape.empty() ? std::max<int64_t>(type.shape[0], 1) : 1;
}

absl::Status RequireFullCoverage(const Coverage& coverage) {
  if (coverage.unknown_operators.empty()) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat(coverage.unknown_operators.size(),
                   coverage.unknown_operators.size() == 1 ? " operator has no rule: " : " operators have no rule: ",
                   absl::StrJoin(coverage.unknown_operators, ", ",
                                 [](std::string* out, const UnknownOperator& row) {
                                   absl::StrAppend(out, row.op, " (", row.nodes, row.nodes == 1 ? " node" : " nodes",
                                                   ", for example '", row.example, "')");
                                 }),
                   "; without --strict the report is made all the same and says what it leaves out"));
}

}  // namespace reusescope
