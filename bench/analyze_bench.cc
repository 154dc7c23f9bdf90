// Where the time of an analysis goes, stage by stage, and how it grows with the size of the graph.
//
//   build/release/bench/analyze_bench --benchmark_filter=Chain
//
// Models come from models/; chains are made in memory: n nodes, every second one a matrix product with its own weights.

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "analysis/measure/cache.h"
#include "analysis/pipeline.h"
#include "analysis/transform/make_executable.h"
#include "bench/transformer_model.h"
#include "benchmark/benchmark.h"
#include "cli/audit.h"
#include "cli/report.h"
#include "cli/views/audit_view.h"
#include "cli/views/html.h"
#include "cli/views/views.h"
#include "importer/load_model.h"
#include "importer/write_model.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

const char* const kModels[] = {"lenet5",
                               "resnet50",
                               "vgg16",
                               "vit_b_16.ts17.train",
                               "bert_base.ts17.train",
                               "gpt2.dynamo18.eval",
                               "tinyllama_1b.dynamo18.eval"};

std::string PathOf(int64_t model) { return std::string(REUSESCOPE_SOURCE_DIR "/models/") + kModels[model] + ".onnx"; }

// Stops the benchmark when a stage fails: a fast error is no result.
template <typename T>
bool Fails(benchmark::State& state, const absl::StatusOr<T>& result) {
  if (result.ok()) return false;
  state.SkipWithError(std::string(result.status().message()).c_str());
  return true;
}

void AllModels(benchmark::internal::Benchmark* benchmark) {
  for (size_t i = 0; i < std::size(kModels); ++i) benchmark->Arg(static_cast<int64_t>(i));
  benchmark->Unit(benchmark::kMillisecond);
}

void Load(benchmark::State& state) {
  state.SetLabel(kModels[state.range(0)]);
  for (auto _ : state) {
    const absl::StatusOr<Model> model = LoadModel(PathOf(state.range(0)));
    if (Fails(state, model)) return;
  }
}
BENCHMARK(Load)->Apply(AllModels);

// The graph after a stage, loading not counted.
void BuildUntil(benchmark::State& state, Stage stage) {
  state.SetLabel(kModels[state.range(0)]);
  for (auto _ : state) {
    state.PauseTiming();
    absl::StatusOr<Model> model = LoadModel(PathOf(state.range(0)));
    if (Fails(state, model)) return;
    std::vector<std::string> notes;
    state.ResumeTiming();
    const absl::StatusOr<TrainingGraph> training = BuildGraph(*std::move(model), {}, stage, notes);
    if (Fails(state, training)) return;
  }
}
void Resolve(benchmark::State& state) { BuildUntil(state, Stage::kShapes); }
void ResolveAndDifferentiate(benchmark::State& state) { BuildUntil(state, Stage::kOptimizer); }
BENCHMARK(Resolve)->Apply(AllModels);
BENCHMARK(ResolveAndDifferentiate)->Apply(AllModels);

// A file to a file: what `reusescope differentiate --optimizer=adamw` does. Files below opset 18 are raised.
void DifferentiateFile(benchmark::State& state, const std::string& path) {
  const std::string written = std::filesystem::temp_directory_path() / "analyze_bench.training.onnx";
  int64_t nodes = 0;
  for (auto _ : state) {
    absl::StatusOr<Model> model = LoadModel(path, {.min_opset = kExecutableOpset, .origin = false});
    if (Fails(state, model)) return;
    std::vector<std::string> notes;
    absl::StatusOr<TrainingGraph> training = BuildGraph(*std::move(model), {}, Stage::kOptimizer, notes);
    if (Fails(state, training)) return;
    nodes = static_cast<int64_t>(training->graph.order.size());
    const absl::StatusOr<Model> executable = MakeExecutable(*std::move(training));
    if (Fails(state, executable)) return;
    const absl::Status status = WriteModel(*executable, path, written, notes);
    if (!status.ok()) return state.SkipWithError(std::string(status.message()).c_str());
  }
  state.counters["nodes"] = static_cast<double>(nodes);
  std::filesystem::remove(written);
}
void DifferentiateAndWrite(benchmark::State& state) {
  state.SetLabel(kModels[state.range(0)]);
  DifferentiateFile(state, PathOf(state.range(0)));
}
BENCHMARK(DifferentiateAndWrite)->Apply(AllModels);

// The same of a transformer with its weights: nodes of the file, and its opset.
void DifferentiateTransformer(benchmark::State& state) {
  const std::string path = std::filesystem::temp_directory_path() / "analyze_bench.transformer.onnx";
  std::ofstream(path, std::ios::binary) << TransformerModel(state.range(0), state.range(1)).SerializeAsString();
  DifferentiateFile(state, path);
  std::filesystem::remove(path);
}
BENCHMARK(DifferentiateTransformer)->ArgsProduct({{3'000, 6'000}, {17, 18}})->Unit(benchmark::kMillisecond);

// The tables of a finished graph, one by one.
class Tables : public benchmark::Fixture {
 public:
  void SetUp(const benchmark::State& state) override {
    absl::StatusOr<Model> model = LoadModel(PathOf(state.range(0)));
    if (!model.ok()) return;
    absl::StatusOr<Analysis> analysis = Analyze(*std::move(model), {.shapes = {.batch = 32}});
    if (analysis.ok()) analysis_ = std::make_unique<Analysis>(*std::move(analysis));
  }
  void TearDown(const benchmark::State&) override { analysis_.reset(); }

 protected:
  bool Ready(benchmark::State& state) const {
    state.SetLabel(kModels[state.range(0)]);
    if (analysis_ == nullptr) state.SkipWithError("the model cannot be analysed");
    return analysis_ != nullptr;
  }
  std::unique_ptr<Analysis> analysis_;
};

BENCHMARK_DEFINE_F(Tables, Cost)(benchmark::State& state) {
  if (!Ready(state)) return;
  for (auto _ : state) benchmark::DoNotOptimize(ComputeCost(analysis_->training, {}));
}
BENCHMARK_DEFINE_F(Tables, Blocks)(benchmark::State& state) {
  if (!Ready(state)) return;
  for (auto _ : state) benchmark::DoNotOptimize(FindBlocks(analysis_->training.graph));
}
BENCHMARK_DEFINE_F(Tables, Reuse)(benchmark::State& state) {
  if (!Ready(state)) return;
  for (auto _ : state) {
    benchmark::DoNotOptimize(ComputeReuse(analysis_->training, analysis_->cost, analysis_->blocks));
  }
}
BENCHMARK_DEFINE_F(Tables, Memory)(benchmark::State& state) {
  if (!Ready(state)) return;
  for (auto _ : state) benchmark::DoNotOptimize(ComputeMemory(analysis_->training, analysis_->cost, {}));
}
BENCHMARK_DEFINE_F(Tables, Lru)(benchmark::State& state) {
  if (!Ready(state)) return;
  for (auto _ : state) benchmark::DoNotOptimize(ComputeLruCurve(analysis_->cost));
}
BENCHMARK_DEFINE_F(Tables, Managed)(benchmark::State& state) {
  if (!Ready(state)) return;
  for (auto _ : state) benchmark::DoNotOptimize(ComputeManagedCurve(analysis_->cost, analysis_->lru));
}
BENCHMARK_DEFINE_F(Tables, Report)(benchmark::State& state) {
  if (!Ready(state)) return;
  const absl::StatusOr<Hardware> device = FindDevice("a100-sxm-80gb");
  if (Fails(state, device)) return;
  for (auto _ : state) {
    const absl::StatusOr<cli::Report> report = cli::MakeReport(*analysis_, {*device}, {.listed_layers = 10});
    if (Fails(state, report)) return;
    benchmark::DoNotOptimize(cli::RenderTable(*report, {}, cli::Terminal()));
  }
}
BENCHMARK_REGISTER_F(Tables, Cost)->Apply(AllModels);
BENCHMARK_REGISTER_F(Tables, Blocks)->Apply(AllModels);
BENCHMARK_REGISTER_F(Tables, Reuse)->Apply(AllModels);
BENCHMARK_REGISTER_F(Tables, Memory)->Apply(AllModels);
BENCHMARK_REGISTER_F(Tables, Lru)->Apply(AllModels);
BENCHMARK_REGISTER_F(Tables, Managed)->Apply(AllModels);
BENCHMARK_REGISTER_F(Tables, Report)->Apply(AllModels);

void DeclareFloat(onnx::ValueInfoProto& value, const std::string& name) {
  value.set_name(name);
  auto* tensor = value.mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(onnx::TensorProto::FLOAT);
  tensor->mutable_shape()->add_dim()->set_dim_value(8);
  tensor->mutable_shape()->add_dim()->set_dim_value(16);
}

// x -> MatMul -> Relu -> MatMul -> ... , `nodes` in all.
std::string ChainBytes(int64_t nodes) {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(17);
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name("chain");
  DeclareFloat(*graph.add_input(), "x");
  std::string previous = "x";
  for (int64_t i = 0; i < nodes; ++i) {
    const std::string index = std::to_string(i);
    onnx::NodeProto& node = *graph.add_node();
    node.set_name(absl::StrCat("n", index));
    node.set_op_type(i % 2 == 0 ? "MatMul" : "Relu");
    node.add_input(previous);
    if (i % 2 == 0) {
      onnx::TensorProto& weight = *graph.add_initializer();
      weight.set_name(absl::StrCat("w", index));
      weight.set_data_type(onnx::TensorProto::FLOAT);
      weight.add_dims(16);
      weight.add_dims(16);
      node.add_input(weight.name());
    }
    previous = absl::StrCat("y", index);
    node.add_output(previous);
  }
  DeclareFloat(*graph.add_output(), previous);
  return model.SerializeAsString();
}

// Ten levels of functions, each calling the next twice: 1,024 calls of a body of `nodes` / 1,024 nodes.
std::string NestedFunctionBytes(int64_t nodes) {
  constexpr int kLevels = 10;
  onnx::ModelProto model;
  model.set_ir_version(9);
  const auto import_both = [](auto& message) {
    message.add_opset_import()->set_version(18);
    auto& own = *message.add_opset_import();
    own.set_domain("my");
    own.set_version(1);
  };
  import_both(model);
  const auto call = [](onnx::NodeProto& node, const std::string& type, const std::string& from, const std::string& to) {
    node.set_op_type(type);
    if (type[0] == 'f') node.set_domain("my");
    node.add_input(from);
    node.add_output(to);
  };
  for (int level = 0; level <= kLevels; ++level) {
    onnx::FunctionProto& function = *model.add_functions();
    import_both(function);
    function.set_domain("my");
    function.set_name(absl::StrCat("f", level));
    function.add_input(std::string("x"));
    function.add_output(std::string("y"));
    const int64_t length = level == 0 ? nodes >> kLevels : 2;
    for (int64_t i = 0; i < length; ++i) {
      const std::string type = level > 0 ? absl::StrCat("f", level - 1) : i % 2 == 0 ? "Abs" : "Relu";
      call(*function.add_node(), type, i == 0 ? "x" : absl::StrCat("t", i),
           i + 1 == length ? "y" : absl::StrCat("t", i + 1));
    }
  }
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name("nested");
  DeclareFloat(*graph.add_input(), "x");
  call(*graph.add_node(), absl::StrCat("f", kLevels), "x", "y");
  DeclareFloat(*graph.add_output(), "y");
  return model.SerializeAsString();
}

// From the bytes of the file to every shape.
void NestedFunctions(benchmark::State& state) {
  const std::string bytes = NestedFunctionBytes(state.range(0));
  for (auto _ : state) {
    absl::StatusOr<Model> model = LoadModelFromBytes(bytes, "nested.onnx");
    if (Fails(state, model)) return;
    std::vector<std::string> notes;
    const absl::StatusOr<TrainingGraph> graph = BuildGraph(*std::move(model), {}, Stage::kShapes, notes);
    if (Fails(state, graph)) return;
    benchmark::DoNotOptimize(graph->graph.order.size());
  }
  state.counters["nodes_per_second"] =
      benchmark::Counter(static_cast<double>(state.range(0)), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(NestedFunctions)->Arg(10'240)->Arg(102'400)->Unit(benchmark::kMillisecond);

// Everything that `reusescope analyze --hardware a100-sxm-80gb` does, from the bytes of the file to the report that
// `render` makes.
template <typename Render>
void AnalyzeChain(benchmark::State& state, const cli::ReportOptions& options, Render render) {
  const std::string bytes = ChainBytes(state.range(0));
  const absl::StatusOr<Hardware> device = FindDevice("a100-sxm-80gb");
  if (Fails(state, device)) return;
  for (auto _ : state) {
    absl::StatusOr<Model> model = LoadModelFromBytes(bytes, "chain.onnx");
    if (Fails(state, model)) return;
    const absl::StatusOr<Analysis> analysis = Analyze(*std::move(model), {});
    if (Fails(state, analysis)) return;
    const absl::StatusOr<cli::Report> report = cli::MakeReport(*analysis, {*device}, options);
    if (Fails(state, report)) return;
    benchmark::DoNotOptimize(render(*report));
  }
  state.counters["nodes_per_second"] =
      benchmark::Counter(static_cast<double>(state.range(0)), benchmark::Counter::kIsIterationInvariantRate);
}

void Chain(benchmark::State& state) {
  AnalyzeChain(state, {.listed_layers = 10},
               [](const cli::Report& report) { return cli::RenderTable(report, {}, cli::Terminal()); });
}
BENCHMARK(Chain)->Arg(1'000)->Arg(10'000)->Arg(100'000)->Unit(benchmark::kMillisecond);

// Everything that `reusescope audit` does over all devices: the batch search, every precision, the ranking.
void Audit(benchmark::State& state) {
  state.SetLabel(kModels[state.range(0)]);
  const absl::StatusOr<std::vector<Hardware>> devices = AllDevices();
  if (Fails(state, devices)) return;
  const cli::AuditOptions options{
      .precisions = {PrecisionMode::kAmpBf16, PrecisionMode::kAmpFp16, PrecisionMode::kTf32, PrecisionMode::kFp32}};
  for (auto _ : state) {
    const absl::StatusOr<cli::AuditReport> report = cli::Audit({{.path = PathOf(state.range(0))}}, *devices, options);
    if (Fails(state, report)) return;
    benchmark::DoNotOptimize(cli::AuditSections(*report, 12));
  }
  state.counters["devices"] = static_cast<double>(devices->size());
}
BENCHMARK(Audit)->Apply(AllModels);

// --format html.
void ChainHtml(benchmark::State& state) {
  AnalyzeChain(state, {}, [](const cli::Report& report) { return cli::RenderHtml(cli::RenderJson(report)); });
}
BENCHMARK(ChainHtml)->Arg(3'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace reusescope

BENCHMARK_MAIN();
