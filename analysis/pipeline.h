// The way of a model through the analysis: a loaded file in, a training step with all its tables out.
//
//   RS_ASSIGN_OR_RETURN(Model model, LoadModel("resnet50.onnx"));
//   RS_ASSIGN_OR_RETURN(const Analysis analysis, Analyze(std::move(model), {.shapes = {.batch = 32}}));
//   RS_ASSIGN_OR_RETURN(const RooflineDevice device, RatesOf(hardware, precision, {}));
//   RS_ASSIGN_OR_RETURN(const Roofline roofline,
//                       ComputeRoofline(analysis.cost, analysis.lru, analysis.managed, device, {.batch = 32}));
//
// pipeline.cc is the list of stages. Hardware comes last and apart: one analysis serves any number of devices.

#ifndef REUSESCOPE_ANALYSIS_PIPELINE_H_
#define REUSESCOPE_ANALYSIS_PIPELINE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "analysis/checkpoint_policy.h"
#include "analysis/choose_order.h"
#include "analysis/ir/model.h"
#include "analysis/ir/training_graph.h"
#include "analysis/measure/blocks.h"
#include "analysis/measure/cache.h"
#include "analysis/measure/cost.h"
#include "analysis/measure/memory.h"
#include "analysis/measure/precision.h"
#include "analysis/measure/reuse.h"
#include "analysis/transform/attach_loss.h"
#include "analysis/transform/attach_optimizer.h"
#include "analysis/transform/resolve_shapes.h"

namespace reusescope {

enum class Mode : uint8_t { kTraining, kInference };

struct AnalysisOptions {
  ShapeBindings shapes;
  Mode mode = Mode::kTraining;
  Loss loss = Loss::kAuto;
  Optimizer optimizer = Optimizer::kAdamW;
  OptimizerSettings optimizer_settings;
  UpdateOrder update_order = UpdateOrder::kEnd;
  GradientHandling gradients;  // scaled, accumulated, clipped before the update
  CheckpointPolicy checkpoint;
  OrderChoice order;
  PrecisionMode precision = PrecisionMode::kFp32;
  bool recognize = true;
  std::string freeze;            // RE2-free std::regex on parameter names; matches are not trained
  std::string train;             // only matches are trained
  bool input_gradients = false;  // of the model's inputs too
  int dropout_mask_bytes = 1;    // per element: 1 as on CUDA, 4 as on PyTorch's CPU
};

// The stages, for `--after=STAGE`.
enum class Stage : uint8_t { kLoad, kShapes, kRecognize, kDifferentiate, kOptimizer };
absl::StatusOr<Stage> StageFromName(
    absl::string_view name);  // "load", "shapes", "recognize", "differentiate", "optimizer"

// What the file says of itself, kept for the report.
struct ModelFacts {
  std::string file, producer;
  int64_t ir_version = 0;
  std::vector<std::pair<std::string, int>> opsets;
  int64_t nodes = 0;       // of the file's graph, before anything was folded
  int64_t parameters = 0;  // elements, tied weights once
  int64_t parameter_tensors = 0;
};

struct UnknownOperator {
  std::string op;  // "com.example::Foo-1"
  int64_t nodes = 0;
  std::string example;  // the name of one node
  int64_t bytes = 0;    // what its kernels touch
};

// Which part of the step the numbers cover.
struct Coverage {
  int64_t nodes = 0, known_nodes = 0;
  int64_t bytes = 0, known_bytes = 0;
  std::vector<UnknownOperator> unknown_operators;
};

struct Analysis {
  ModelFacts facts;
  AnalysisOptions options;
  std::vector<std::string> notes;  // what a reader must know first: unbound dimensions, folded batch norms, warnings
  Coverage coverage;
  TrainingGraph training;
  CostTable cost;
  BlockTable blocks;
  ReuseTable reuse;
  MemoryTable memory;
  LruCurve lru;
  ManagedCurve managed;
};

Coverage CoverageOf(const Graph& graph, const CostTable& cost);

// Samples in a step: the leading dimension of the model's first input (1 when it has none).
int64_t BatchOf(const Graph& graph);

// The training graph after the given stage (kLoad: as loaded). Notes are appended to.
absl::StatusOr<TrainingGraph> BuildGraph(Model model, const AnalysisOptions& options, Stage last,
                                         std::vector<std::string>& notes);

absl::StatusOr<Analysis> Analyze(Model model, const AnalysisOptions& options);
// The same without reuse and the cache curves, which take most of the time.
absl::StatusOr<Analysis> AnalyzeMemory(Model model, const AnalysisOptions& options);

// kUnimplemented listing every operator without a rule with counts and one node each; OK when there is none (--strict).
absl::Status RequireFullCoverage(const Coverage& coverage);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_PIPELINE_H_
