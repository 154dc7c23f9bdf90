// What is analysed is what runs: the multiply-accumulates of a kernel of ours against those of its executable body,
// which is inlined, resolved and counted like any other part of a model.

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/measure/cost.h"
#include "analysis/pipeline.h"
#include "analysis/transform/make_executable.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"

namespace reusescope {
namespace {

// Bodies that compute otherwise than the kernel that is counted.
const std::map<std::string, std::string>& Exceptions() {
  static const auto* const exceptions = new std::map<std::string, std::string>{
      {"AveragePoolGrad", "additions over windows, run as a transposed convolution with ones"},
      {"LpPoolGrad", "additions over windows, run as a transposed convolution with ones"},
      {"RoiAlignGrad", "four taps a sample, run as products with the matrices of interpolation weights"},
      {"CumProdGrad", "sums over triangles, run as products with a triangle of ones"},
  };
  return *exceptions;
}

// Models with contractions, by how their names begin.
constexpr absl::string_view kModels[] = {
    "bilinear",       "conv",        "dense",     "einsum",    "experts",  "gru",
    "lstm",           "rnn",         "tiny_lstm", "tiny_bert", "tiny_gpt", "tiny_llama",
    "tiny_mobilenet", "tiny_resnet", "tiny_unet", "tiny_vit",  "window"};

struct Count {
  std::string op;
  int64_t macs = 0;
};

// Contractions of the nodes that run as a body, by node name: by the kernels, and by the bodies.
struct Counts {
  std::map<std::string, Count> kernels;
  std::map<std::string, int64_t> bodies;
};

void CountModel(const std::string& path, Counts& counts) {
  AnalysisOptions options{.loss = Loss::kNone, .input_gradients = true};
  options.shapes.keep_branches = true;
  std::vector<std::string> notes;
  absl::StatusOr<Model> model = LoadModel(path, {.min_opset = kExecutableOpset});
  ASSERT_TRUE(model.ok()) << model.status();
  absl::StatusOr<TrainingGraph> training = BuildGraph(*std::move(model), options, Stage::kDifferentiate, notes);
  ASSERT_TRUE(training.ok()) << training.status();
  const absl::StatusOr<CostTable> cost = ComputeCost(*training, {});
  ASSERT_TRUE(cost.ok()) << cost.status();
  std::map<std::string, Count> all;
  for (const KernelCost& kernel : cost->kernels) {
    const Node& node = training->graph.node(kernel.node);
    all[node.name] = {node.op.type, kernel.macs};
  }
  absl::StatusOr<Model> executable = MakeExecutable(*std::move(training));
  ASSERT_TRUE(executable.ok()) << executable.status();
  for (NodeId id : executable->graph.order) {
    const Node& node = executable->graph.node(id);
    if (node.op.domain == kReuseScopeDomain && all.contains(node.name)) counts.kernels[node.name] = all[node.name];
  }
  // Calls become the bodies' nodes, in the schedule of the calls; which phase each is of is not asked again.
  for (Node& node : executable->graph.nodes) node.phase = Phase::kForward;
  AnalysisOptions plain{.mode = Mode::kInference, .recognize = false};
  plain.shapes.keep_branches = true;
  const absl::StatusOr<TrainingGraph> inlined = BuildGraph(*std::move(executable), plain, Stage::kDifferentiate, notes);
  ASSERT_TRUE(inlined.ok()) << inlined.status();
  const absl::StatusOr<CostTable> inlined_cost = ComputeCost(*inlined, {});
  ASSERT_TRUE(inlined_cost.ok()) << inlined_cost.status();
  for (const KernelCost& kernel : inlined_cost->kernels) {
    const std::string& name = inlined->graph.node(kernel.node).name;  // "<call>/<node>"
    counts.bodies[name.substr(0, name.rfind('/'))] += kernel.macs;
  }
}

TEST(BodyCostTest, KernelsAndTheirBodiesAgreeInMacs) {
  std::set<std::string> agreed, excepted;
  int files = 0;
  const std::filesystem::path folder = absl::StrCat(REUSESCOPE_SOURCE_DIR, "/tests/gradients/models");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool compared = std::any_of(std::begin(kModels), std::end(kModels),
                                      [&](absl::string_view each) { return absl::StartsWith(name, each); });
    if (entry.path().extension() != ".onnx" || !compared) continue;
    SCOPED_TRACE(name);
    ++files;
    Counts counts;
    CountModel(entry.path().string(), counts);
    if (HasFatalFailure()) continue;
    for (const auto& [name, kernel] : counts.kernels) {
      const int64_t body = counts.bodies[name];
      if (Exceptions().contains(kernel.op)) {
        if (body != kernel.macs) excepted.insert(kernel.op);
        continue;
      }
      EXPECT_EQ(body, kernel.macs) << name << " (" << kernel.op << ")";
      if (kernel.macs > 0) agreed.insert(kernel.op);
    }
  }
  EXPECT_GT(files, 15);
  EXPECT_THAT(agreed, testing::IsSupersetOf({"ConvGrad", "ConvTransposeGrad", "MatMulGrad", "GemmGrad", "EinsumGrad",
                                             "LSTM", "LSTMGrad", "LSTMWeightGrad", "GRU", "GRUGrad", "GRUWeightGrad",
                                             "RNNGrad", "RNNWeightGrad"}));
}

}  // namespace
}  // namespace reusescope
